"""Attention with more than one dimension before its heads, such as windows of an image.

The ONNX exporter writes attention over (batch, heads, tokens, features) alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


def flattened(program: ExportedProgram) -> ExportedProgram:
    """The same program, in which each attention has one dimension before its heads."""
    return program.run_decompositions({_ATTENTION: _flattened})


def _flattened(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> torch.Tensor:
    """A decomposition, as torch calls it; each of the three is (..., heads, tokens, features)."""
    if query.ndim <= 4:
        return NotImplemented
    leading = query.shape[:-3]
    if mask is not None:
        mask = mask.expand(*query.shape[:-1], key.shape[-2]).flatten(0, -4)
    query, key, value = (each.flatten(0, -4) for each in (query, key, value))
    mixed = _ATTENTION(query, key, value, mask, dropout_p, is_causal, **options)
    return mixed.reshape(*leading, *mixed.shape[1:])
