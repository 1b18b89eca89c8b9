"""ResNet-RS: depth, stem, shortcut and attention chosen together, under timm's names.

Bello et al., "Revisiting ResNets: Improved Training and Scaling Strategies", 2021
(https://arxiv.org/abs/2103.07579): ResNet-D with squeeze-and-excitation at a quarter of the
channels, and a strided convolution in the place of the stem's max pooling.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from zoo.models.attention import SqueezeExcite
from zoo.models.resnet import conv3x3
from zoo.models.tricks import (
    N50,
    N101,
    N152,
    N200,
    D,
    TrickBottleneck,
    TrickResNet,
    Variant,
)


def _convolved_pool(width: int) -> nn.Module:
    return nn.Sequential(conv3x3(width, width, stride=2), nn.BatchNorm2d(width), nn.ReLU())


RS: dict[str, Any] = D | {
    "attention": partial(SqueezeExcite, ratio=1 / 4),
    "pool": _convolved_pool,
}

# The paper rounds 272 layers to 270 and 419 to 420.
VARIANTS: dict[str, Variant] = {
    "resnetrs50": Variant(TrickBottleneck, N50, **RS),
    "resnetrs101": Variant(TrickBottleneck, N101, **RS),
    "resnetrs152": Variant(TrickBottleneck, N152, **RS),
    "resnetrs200": Variant(TrickBottleneck, N200, **RS),
    "resnetrs270": Variant(TrickBottleneck, (4, 29, 53, 4), **RS),
    "resnetrs350": Variant(TrickBottleneck, (4, 36, 72, 4), **RS),
    "resnetrs420": Variant(TrickBottleneck, (4, 44, 87, 4), **RS),
}


def build(name: str, **options: Any) -> TrickResNet:
    """Build the row of VARIANTS called `name`; options are TrickResNet's keyword arguments."""
    return TrickResNet(VARIANTS[name], **options)
