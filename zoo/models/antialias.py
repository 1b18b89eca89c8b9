"""Anti-aliased residual networks: a blur before pixels are dropped, under timm's names.

Zhang, "Making Convolutional Networks Shift-Invariant Again", 2019
(https://arxiv.org/abs/1904.11486): a layer with stride 2 keeps every other pixel, so an image that
is shifted by one gives other features. Here the layer keeps its stride of 1 and what follows
halves the size: "blur" a small binomial blur, "aa" an average over 2x2 pixels.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from zoo.models.attention import SE
from zoo.models.tricks import (
    NEXT_32X8D,
    RESNET_D,
    TrickBasicBlock,
    TrickBottleneck,
    TrickResNet,
    TrickRow,
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


def blurred_pool() -> nn.Sequential:
    """The stem's pooling with its stride left to a blur: (B, C, H, W) -> (B, C, H/2, W/2)."""
    return nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BlurPool())


BLUR: dict[str, Any] = {"blur": BlurPool, "pool": blurred_pool}
AA: dict[str, Any] = {"blur": average_pool, "pool": partial(nn.AvgPool2d, 2)}

VARIANTS: dict[str, TrickRow] = {
    "resnetblur18": TrickRow(TrickBasicBlock, (2, 2, 2, 2), **BLUR),
    "resnetblur50": TrickRow(TrickBottleneck, (3, 4, 6, 3), **BLUR),
    "resnetblur50d": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_D, **BLUR),
    "resnetblur101d": TrickRow(TrickBottleneck, (3, 4, 23, 3), **RESNET_D, **BLUR),
    "resnetaa34d": TrickRow(TrickBasicBlock, (3, 4, 6, 3), **RESNET_D, **AA),
    "resnetaa50": TrickRow(TrickBottleneck, (3, 4, 6, 3), **AA),
    "resnetaa50d": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_D, **AA),
    "resnetaa101d": TrickRow(TrickBottleneck, (3, 4, 23, 3), **RESNET_D, **AA),
    "seresnetaa50d": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_D, **AA, **SE),
    "seresnextaa101d_32x8d": TrickRow(
        TrickBottleneck, (3, 4, 23, 3), **RESNET_D, **AA, **SE, **NEXT_32X8D
    ),
}


def build(name: str, **options: Any) -> TrickResNet:
    """Build the row of VARIANTS called `name`; options are TrickResNet's keyword arguments."""
    return TrickResNet(VARIANTS[name], **options)
