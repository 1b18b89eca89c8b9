"""What a precision is: its dtype, its rounding step, and how wrong a backend may be at it."""

from __future__ import annotations

from dataclasses import dataclass

from compile.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One row of PRECISIONS."""

    dtype: str
    """Name of the torch dtype that the convolutions compute in."""
    eps: float
    """Distance from 1 to the next larger number of that dtype."""
    k: float
    """A backend may be at most k times as wrong as eager PyTorch at this precision."""


PRECISIONS = {
    "fp32": Precision(dtype="float32", eps=2.0**-23, k=2.0),
    "bf16": Precision(dtype="bfloat16", eps=2.0**-7, k=3.0),
    "fp16": Precision(dtype="float16", eps=2.0**-10, k=3.0),
}


def precision(name: str) -> Precision:
    """Return the row called `name`; an unknown name is a UsageError that lists the known ones."""
    try:
        return PRECISIONS[name]
    except KeyError:
        known = ", ".join(PRECISIONS)
        raise UsageError(f"unknown precision '{name}'; choose one of: {known}") from None
