"""What a precision is: its dtype, its rounding step, and how wrong a backend may be at it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compile.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    import torch


VNNI = ("avx512_vnni", "avx_vnni")
"""CPU flags of which either adds the products of bytes in 32 bits."""


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
    """Smallest relative error that eager PyTorch is counted as having. It is one rounding step, and
    half a step at int8. A smaller error is luck: a program that adds in another order need not have
    it, and one value near the middle of two steps is rounded to the other one."""
    lowered: bool = True
    """Whether the graph loses something against float32. Then the float32 graph that it was made
    from is held to the bounds of REFERENCE as well."""
    quantised: bool = False
    """Whether weights and activations lie on a grid that calibration images decide. PyTorch
    computes such a graph in float32, and some of its layers may stay in float32."""
    on_own_grid: bool = False
    """Whether the oracle is the fake-quantised graph. Otherwise it is the module itself."""
    float_grid: bool = False
    """Whether the grid is float8's numbers, stretched to int8's range, instead of int8's."""
    tf32: bool = False
    """Whether a GPU multiplies float32 in TF32. A CPU has no TF32 to be wrong by, so PyTorch's own
    error is measured on the GPU. No constant in a file shows it: those are float32's."""
    cpu_flags: tuple[tuple[str, ...], ...] = ()
    """What a CPU needs to run machine code at this precision: of each group, one flag."""
    without_flags: str = ""
    """What to say of CPUs that may lack one, and what to do instead; follows `CPUs of LEVEL`."""
    computing_flags: tuple[str, ...] = ()
    """CPU flags of which one computes at this precision. A CPU without all of them emulates it: a
    build takes minutes, and a call several times as long as in float32."""

    @property
    def eager_dtype(self) -> str:
        """Name of the torch dtype that eager PyTorch computes in."""
        return "float32" if self.quantised else self.dtype


REFERENCE = "fp32"
"""The precision that every other one is lowered from."""

PRECISIONS = {
    "fp32": Precision(dtype="float32", eps=2.0**-23, k=2.0, least=2.0**-23, lowered=False),
    "tf32": Precision(dtype="float32", eps=2.0**-10, k=3.0, least=2.0**-10, tf32=True),
    "bf16": Precision(
        dtype="bfloat16",
        eps=2.0**-7,
        k=3.0,
        least=2.0**-7,
        # torch's bf16 convolutions need these, and raise when they are called without.
        cpu_flags=(("avx512bw",), ("avx512dq",), ("avx512vl",)),
        without_flags="run no bf16, torch's needs AVX-512: "
        "use --target x86-64-v4 or --precision fp32",
        computing_flags=("avx512_bf16", "amx_bf16"),
    ),
    "fp16": Precision(dtype="float16", eps=2.0**-10, k=3.0, least=2.0**-10),
    "int8": Precision(
        dtype="int8",
        eps=2.0**-7,
        k=3.0,
        least=2.0**-8,
        quantised=True,
        on_own_grid=True,
        cpu_flags=(VNNI,),
        without_flags="need not have the int8 instructions of VNNI: use --target native "
        "or --precision fp32",
    ),
    # TensorRT has few float8 kernels and leaves layers out, so the oracle is the module.
    "fp8": Precision(
        dtype="float8_e4m3fn", eps=2.0**-3, k=3.0, least=0.0, quantised=True, float_grid=True
    ),
}
"""The precisions by name. To add one: one row here, its name in a backend's PRECISIONS and in the
list of manifest.schema.json, which the runner reads too."""


def precision(name: str) -> Precision:
    """Return the row called `name`; an unknown name is a UsageError that lists the known ones."""
    try:
        return PRECISIONS[name]
    except KeyError:
        known = ", ".join(PRECISIONS)
        raise UsageError(f"unknown precision '{name}'; choose one of: {known}") from None


def held_as(name: str) -> str:
    """Return the precision that the constants in a file of precision `name` show.

    That is `name`, or for TF32 the precision whose dtype it multiplies.
    """
    return _of_dtype(precision(name).dtype) if precision(name).tf32 else name


def in_tf32(held: str) -> str | None:
    """Return the precision that multiplies the dtype of `held` in TF32; None if none does."""
    rows = PRECISIONS.items()
    dtype = PRECISIONS[held].dtype if held in PRECISIONS else ""
    return next((name for name, row in rows if row.tf32 and row.dtype == dtype), None)


def _of_dtype(dtype: str) -> str:
    rows = PRECISIONS.items()
    return next(name for name, row in rows if row.dtype == dtype and not row.tf32)


def of_constants(constants: Iterable[torch.Tensor]) -> str:
    """Return the precision of a saved program: the dtype of its convolutions' weights.

    Where nothing is four-dimensional, the matrices decide. A quantised program may keep some
    layers in float32. Several dtypes are joined, such as `bfloat16, float32`: `check_held` decides
    on them. CheckFailed if there are no constants. TF32 is a way to multiply float32, which no
    constant shows.
    """
    dtypes: dict[int, set[str]] = {}
    for value in constants:
        dtypes.setdefault(value.ndim, set()).add(str(value.dtype).removeprefix("torch."))
    names = dtypes.get(4) or dtypes.get(2) or set()
    for name, row in PRECISIONS.items():
        if row.tf32:
            continue
        if names == {row.dtype} or (row.quantised and names == {row.dtype, row.eager_dtype}):
            return name
    if not names:
        raise CheckFailed("the convolutions in the saved file hold no constants")
    return ", ".join(sorted(names))


def check_held(held: str, asked: str, inner: Callable[[], Collection[str]]) -> None:
    """Raise CheckFailed unless `held`, what `of_constants` returned, is the precision asked for.

    For TF32 that is float32. `inner` gives the dtypes that the network itself computes in, whatever
    the precision: weights may have those too.
    """
    if held in (held_as(asked), asked):
        return
    dtypes = {PRECISIONS[held].dtype} if held in PRECISIONS else set(held.split(", "))
    own = set(inner())
    if not own or not dtypes <= {precision(asked).dtype, precision(asked).eager_dtype} | own:
        raise CheckFailed(f"asked for {asked}, the file holds {held}")


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
