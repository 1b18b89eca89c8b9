"""Lifelike batch norms for networks that were never trained.

A fresh batch norm has scale 1, shift 0, mean 0 and variance 1: folding it into a convolution, or
forgetting to, gives the same numbers, so a network of fresh batch norms hides every folding bug.
Here each gets a scale and a shift of its own, and the statistics of what really flows through it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo.models.unit import ResidualUnit

BRANCH_SCALE = 0.2
"""Of the last batch norm in a residual branch, beside those of the other norms."""


def calibrate_batch_norms(
    model: nn.Module, shape: tuple[int, int, int], seed: int = 0, *, batch: int | None = None
) -> None:
    """Give every batch norm of `model`, in place, seeded scales, shifts and measured statistics.

    Scales are uniform in 0.5..1.5 and shifts normal with deviation 0.2. At the end of a residual
    branch both are a fifth of that, as training tends to leave them: if branches are as large
    as their shortcuts, a deep network amplifies rounding until half precision says nothing. The
    statistics are those of one synthetic batch of `shape` (C, H, W), so activations neither
    vanish nor overflow at any depth and logits differ between inputs. The mode of every module
    is as before afterwards. `batch` images are 8, or 64 small ones, if it is not given.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    units = [module for module in model.modules() if isinstance(module, ResidualUnit)]
    branch_ends = {unit.last_norm for unit in units if unit.has_shortcut}
    before = [(module, module.training) for module in model.modules()]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        if norm.affine:
            size = norm.weight.shape
            scale = torch.rand(size, generator=generator) + 0.5
            offset = 0.2 * torch.randn(size, generator=generator)
            if norm in branch_ends:
                scale, offset = BRANCH_SCALE * scale, BRANCH_SCALE * offset
            with torch.no_grad():
                norm.weight.copy_(scale)
                norm.bias.copy_(offset)
        norm.momentum = 1.0  # take the statistics of this batch as they are
        norm.train()
    # Small images end as one pixel, so the statistics have nothing but the batch to average.
    batch = batch or (8 if shape[1] * shape[2] > 64 * 64 else 64)
    device = next(model.parameters()).device
    try:
        with torch.no_grad():
            model(synthetic_images(batch, shape, generator).to(device))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in before:
            module.training = training


def synthetic_images(
    count: int, shape: tuple[int, int, int], generator: torch.Generator
) -> torch.Tensor:
    """Noise with the long-range structure of photographs: (count, C, H, W), mean 0, deviation 1.

    Each image is normal noise at full size plus normal noise at an eighth of it, enlarged, so
    that images differ in more than their finest detail.
    """
    channels, height, width = shape
    coarse_size = (max(1, height // 8), max(1, width // 8))
    fine = torch.randn((count, *shape), generator=generator)
    coarse = torch.randn((count, channels, *coarse_size), generator=generator)
    enlarged = nn.functional.interpolate(coarse, size=(height, width), mode="nearest")
    return (fine + enlarged) / 2**0.5
