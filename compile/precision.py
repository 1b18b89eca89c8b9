"""What a precision is: its dtype, its rounding step, and how wrong a backend may be at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compile.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One row of PRECISIONS."""

    dtype: str
    """Name of the torch dtype that the convolutions' weights have in the file."""
    eps: float
    """Distance from 1 to the next larger number of that dtype."""
    k: float
    """A backend may be at most k times as wrong as eager PyTorch at this precision."""
    least: float
    """Relative error that eager PyTorch counts as having at least, one rounding step, at int8 half
    of one: less is luck. Another order of summation has it no more, and one value on the edge of
    two steps falls to the other side."""


PRECISIONS = {
    "fp32": Precision(dtype="float32", eps=2.0**-23, k=2.0, least=2.0**-23),
    "tf32": Precision(dtype="float32", eps=2.0**-10, k=3.0, least=2.0**-10),
    "bf16": Precision(dtype="bfloat16", eps=2.0**-7, k=3.0, least=2.0**-7),
    "fp16": Precision(dtype="float16", eps=2.0**-10, k=3.0, least=2.0**-10),
    "int8": Precision(dtype="int8", eps=2.0**-7, k=3.0, least=2.0**-8),
    "fp8": Precision(dtype="float8_e4m3fn", eps=2.0**-3, k=3.0, least=0.0),
}

QUANTIZED = ("int8", "fp8")
"""Precisions whose weights and activations lie on a grid that calibration images decide."""


def precision(name: str) -> Precision:
    """Return the row called `name`; an unknown name is a UsageError that lists the known ones."""
    try:
        return PRECISIONS[name]
    except KeyError:
        known = ", ".join(PRECISIONS)
        raise UsageError(f"unknown precision '{name}'; choose one of: {known}") from None


def of_constants(constants: Iterable[torch.Tensor]) -> str:
    """Return the precision of a saved program: the one dtype of its convolutions' weights.

    Where nothing is four-dimensional, the matrices decide. A quantised program may keep some
    layers in float32; any other mixture, or none, is CheckFailed. TF32 is a way to multiply
    float32, which no constant shows.
    """
    dtypes: dict[int, set[str]] = {}
    for value in constants:
        dtypes.setdefault(value.ndim, set()).add(str(value.dtype).removeprefix("torch."))
    names = dtypes.get(4) or dtypes.get(2) or set()
    for name, row in PRECISIONS.items():
        if names == {row.dtype} or (name in QUANTIZED and names == {row.dtype, "float32"}):
            return name
    found = ", ".join(sorted(names)) or "no constants"
    raise CheckFailed(f"the convolutions in the saved file hold {found}; expected one dtype")


@contextmanager
def tensor_float(allowed: bool) -> Iterator[None]:
    """TF32 on or off on the GPU, whatever it was before: PyTorch allows it in convolutions."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = allowed
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
