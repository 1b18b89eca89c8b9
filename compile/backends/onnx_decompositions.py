"""Operators that are written in terms of others before the ONNX exporter sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_POOL = torch.ops.aten.adaptive_avg_pool2d.default


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """The same program without what the exporter cannot write, or writes badly.

    Attention with more than one dimension before its heads, such as windows of an image, cannot be
    written. A pool over the whole image becomes a gather behind channels that come last, and with a
    range of batches OpenVINO computes int8 layers wrongly in the graph of its indices.
    """
    return program.run_decompositions({_ATTENTION: _attention, _POOL: _pool})


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> torch.Tensor:
    """Attention of (..., heads, tokens, features) with one dimension before its heads."""
    if query.ndim <= 4:
        return NotImplemented
    leading = query.shape[:-3]
    if mask is not None:
        mask = mask.expand(*query.shape[:-1], key.shape[-2]).flatten(0, -4)
    query, key, value = (each.flatten(0, -4) for each in (query, key, value))
    mixed = _ATTENTION(query, key, value, mask, dropout_p, is_causal, **options)
    return mixed.reshape(*leading, *mixed.shape[1:])


def _pool(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The mean of an image (..., height, width), if that is what the pool gives."""
    return x.mean((-2, -1), keepdim=True) if tuple(size) == (1, 1) else NotImplemented
