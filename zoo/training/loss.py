"""The loss of a batch, as a recipe defines it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from zoo.training.recipe import Recipe


def loss_of(logits: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
    """Mean loss of logits (B, K) against target shares (B, K): a scalar."""
    if recipe.loss == "ce":
        return functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
    smooth = recipe.label_smoothing
    targets = targets * (1 - smooth) + smooth / targets.shape[1]
    if recipe.bce_threshold:
        targets = (targets > recipe.bce_threshold).float()
    return functional.binary_cross_entropy_with_logits(logits, targets)
