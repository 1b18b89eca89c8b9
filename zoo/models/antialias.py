"""Anti-aliased residual networks: a blur before pixels are dropped, under timm's names.

Zhang, "Making Convolutional Networks Shift-Invariant Again", 2019
(https://arxiv.org/abs/1904.11486): a layer with stride 2 keeps every other pixel, so an image that
is shifted by one gives other features. Here the layer keeps its stride of 1 and what follows
halves the size: "blur" a small binomial blur, "aa" an average over 2x2 pixels.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from zoo.models.attention import SE
from zoo.models.tricks import (
    N18,
    N50,
    N101,
    X32X8,
    D,
    TrickBasicBlock,
    TrickBottleneck,
    TrickResNet,
    Variant,
    average_pool,
)


class BlurPool(nn.Module):
    """Halve the size after a blur: (B, C, H, W) -> (B, C, H/2, W/2), rounded up; H and W from 2.

    The blur [1 2 1] / 4 in each direction is [1 1] / 2 twice, so two averages compute it, without
    weights that a checkpoint or a backend would have to carry.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
        x = functional.avg_pool2d(x, 2, stride=1)
        return functional.avg_pool2d(x, 2, stride=2)


def _blurred_pool(width: int) -> nn.Module:
    del width
    return nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BlurPool())


def _averaged_pool(width: int) -> nn.Module:
    del width
    return nn.AvgPool2d(2)


BLUR: dict[str, Any] = {"blur": BlurPool, "pool": _blurred_pool}
AA: dict[str, Any] = {"blur": average_pool, "pool": _averaged_pool}

VARIANTS: dict[str, Variant] = {
    "resnetblur18": Variant(TrickBasicBlock, N18, **BLUR),
    "resnetblur50": Variant(TrickBottleneck, N50, **BLUR),
    "resnetblur50d": Variant(TrickBottleneck, N50, **D, **BLUR),
    "resnetblur101d": Variant(TrickBottleneck, N101, **D, **BLUR),
    "resnetaa34d": Variant(TrickBasicBlock, N50, **D, **AA),
    "resnetaa50": Variant(TrickBottleneck, N50, **AA),
    "resnetaa50d": Variant(TrickBottleneck, N50, **D, **AA),
    "resnetaa101d": Variant(TrickBottleneck, N101, **D, **AA),
    "seresnetaa50d": Variant(TrickBottleneck, N50, **D, **AA, **SE),
    "seresnextaa101d_32x8d": Variant(TrickBottleneck, N101, **D, **AA, **SE, **X32X8),
}


def build(name: str, **options: Any) -> TrickResNet:
    """Build the row of VARIANTS called `name`; options are TrickResNet's keyword arguments."""
    return TrickResNet(VARIANTS[name], **options)
