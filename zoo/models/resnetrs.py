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
    RESNET_D,
    TrickBottleneck,
    TrickResNet,
    TrickRow,
)


def convolved_pool() -> nn.Sequential:
    """What follows the stem: (B, 64, H, W) -> (B, 64, H/2, W/2)."""
    return nn.Sequential(conv3x3(64, 64, stride=2), nn.BatchNorm2d(64), nn.ReLU())


RS: dict[str, Any] = RESNET_D | {
    "attention": partial(SqueezeExcite, ratio=1 / 4),
    "pool": convolved_pool,
}

# The paper rounds 272 layers to 270 and 419 to 420.
VARIANTS: dict[str, TrickRow] = {
    "resnetrs50": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RS),
    "resnetrs101": TrickRow(TrickBottleneck, (3, 4, 23, 3), **RS),
    "resnetrs152": TrickRow(TrickBottleneck, (3, 8, 36, 3), **RS),
    "resnetrs200": TrickRow(TrickBottleneck, (3, 24, 36, 3), **RS),
    "resnetrs270": TrickRow(TrickBottleneck, (4, 29, 53, 4), **RS),
    "resnetrs350": TrickRow(TrickBottleneck, (4, 36, 72, 4), **RS),
    "resnetrs420": TrickRow(TrickBottleneck, (4, 44, 87, 4), **RS),
}


def build(name: str, **options: Any) -> TrickResNet:
    """Build the row of VARIANTS called `name`; options are TrickResNet's keyword arguments."""
    return TrickResNet(VARIANTS[name], **options)
