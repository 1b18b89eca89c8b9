"""What a program returns: a tensor for one output, a tuple in the manifest's order for several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch  # backends are asked what they lack before torch is imported

Returned: TypeAlias = "torch.Tensor | tuple[torch.Tensor, ...]"
"""float32 (N, ...) for each output."""


def as_tuple(returned: Returned) -> tuple[torch.Tensor, ...]:
    """All outputs, also where there is one."""
    return tuple(returned) if isinstance(returned, tuple | list) else (returned,)


def as_returned(tensors: Sequence[torch.Tensor]) -> Returned:
    """The tensor if there is one, else all of them."""
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def joined(parts: Sequence[Returned]) -> Returned:
    """The answers to several batches, as one."""
    import torch

    return as_returned([torch.cat(output) for output in zip(*map(as_tuple, parts), strict=True)])


def each(returned: Returned, change: Callable[[torch.Tensor], torch.Tensor]) -> Returned:
    """The same with each tensor changed."""
    return as_returned([change(tensor) for tensor in as_tuple(returned)])
