"""Residual networks with later refinements, under timm's names and with its parameter names.

The residual unit stays that of zoo/models/resnet.py. In this file the stem and the shortcut change,
after He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks", 2018
(https://arxiv.org/abs/1812.01187):
- c: three 3x3 convolutions instead of the stem's 7x7; s: the same, twice as wide;
- d: c, and the shortcut averages 2x2 pixels before it projects, instead of skipping three of four;
- t: d with a narrower first convolution.
Other files fill the remaining fields of a row: zoo/models/attention.py, antialias.py, resnetrs.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.resnet import conv1x1, conv3x3, conv7x7
from zoo.models.unit import ResidualUnit, initialise


def average_pool() -> nn.AvgPool2d:
    """Halve the size, rounding up: every pixel of the result averages the 2x2 that there are."""
    return nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)


def max_pool() -> nn.MaxPool2d:
    """The stem's pooling: (B, C, H, W) -> (B, C, H/2, W/2)."""
    return nn.MaxPool2d(3, stride=2, padding=1)


@dataclass(frozen=True)
class TrickRow:
    """One row: the unit, its number in each stage, and what differs from the first ResNet."""

    block: type[TrickBasicBlock] | type[TrickBottleneck]
    depths: tuple[int, int, int, int]
    stem: tuple[int, int] | None = None
    """Widths of a deep stem's first two convolutions; its third has twice the second's."""
    average: bool = False
    """Whether the shortcut averages before it projects."""
    attention: Callable[[int], nn.Module] = nn.Identity
    """Makes the attention at the end of a branch from its channels."""
    blur: Callable[[], nn.Module] | None = None
    """Makes what halves the size, so that the 3x3 convolution before it does not."""
    pool: Callable[[], nn.Module] = max_pool
    """Makes what follows the stem and halves the size once more."""
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d
    groups: int = 1
    group_width: int = 64
    narrow: int = 1
    """What the first convolution of a bottleneck divides the inner width by."""
    projection: int = 1
    """Size of the projection's kernel if it halves the size."""


def make_shortcut(
    row: TrickRow, in_channels: int, out_channels: int, stride: int
) -> nn.Sequential | None:
    """A projection when the shape changes: (B, in, H, W) -> (B, out, H/stride, W/stride)."""
    if stride == 1 and in_channels == out_channels:
        return None
    if row.average:
        pool = nn.Identity() if stride == 1 else average_pool()
        return nn.Sequential(pool, conv1x1(in_channels, out_channels), row.norm(out_channels))
    conv = conv3x3 if row.projection == 3 and stride > 1 else conv1x1
    return nn.Sequential(conv(in_channels, out_channels, stride), row.norm(out_channels))


class TrickBasicBlock(ResidualUnit):
    """Two 3x3 convolutions: (B, in_channels, H, W) -> (B, width, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, row: TrickRow, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        blur = row.blur if stride > 1 else None
        self.conv1 = conv3x3(in_channels, width, 1 if blur else stride)
        self.bn1 = row.norm(width)
        self.relu1 = nn.ReLU()
        self.pool = blur() if blur else nn.Identity()
        self.conv2 = conv3x3(width, width)
        self.bn2 = row.norm(width)
        self.se = row.attention(width)
        self.relu2 = nn.ReLU()
        self.downsample = make_shortcut(row, in_channels, width, stride)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.pool(self.relu1(self.bn1(self.conv1(x))))
        x = self.se(self.bn2(self.conv2(x)))
        return self.relu2(x + shortcut)


class TrickBottleneck(ResidualUnit):
    """1x1, 3x3 and 1x1: (B, in_channels, H, W) -> (B, 4 * width, H/stride, W/stride)."""

    expansion = 4

    def __init__(self, row: TrickRow, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        inner = row.groups * row.group_width * width // 64
        out_channels = width * self.expansion
        blur = row.blur if stride > 1 else None
        self.conv1 = conv1x1(in_channels, inner // row.narrow)
        self.bn1 = row.norm(inner // row.narrow)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(inner // row.narrow, inner, 1 if blur else stride, row.groups)
        self.bn2 = row.norm(inner)
        self.relu2 = nn.ReLU()
        self.pool = blur() if blur else nn.Identity()
        self.conv3 = conv1x1(inner, out_channels)
        self.bn3 = row.norm(out_channels)
        self.se = row.attention(out_channels)
        self.relu3 = nn.ReLU()
        self.downsample = make_shortcut(row, in_channels, out_channels, stride)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.pool(self.relu2(self.bn2(self.conv2(x))))
        x = self.se(self.bn3(self.conv3(x)))
        return self.relu3(x + shortcut)


class TrickResNet(nn.Module):
    """Stem, four stages, global average, linear: (B, C, H, W) -> (B, num_classes).

    With `stem="small"` a 3x3 convolution stands in the place of the first two layers, for small
    images. H and W from 1, or from 2 for a last stage that blurs.
    """

    def __init__(
        self,
        row: TrickRow,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: str = "imagenet",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        channels = 2 * row.stem[1] if row.stem else 64
        small = stem == "small"
        self.conv1 = (
            conv3x3(in_channels, channels) if small else make_stem(row, in_channels, channels)
        )
        self.bn1 = row.norm(channels)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else row.pool()
        expansion = row.block.expansion
        self.layer1 = stage(row, channels, 64, row.depths[0], stride=1)
        self.layer2 = stage(row, 64 * expansion, 128, row.depths[1], stride=2)
        self.layer3 = stage(row, 128 * expansion, 256, row.depths[2], stride=2)
        self.layer4 = stage(row, 256 * expansion, 512, row.depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * expansion, num_classes)
        initialise(self, zero_init_residual=zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (B, 64, 112, 112), or 128 channels
        x = self.maxpool(x)  #                    (B, 64, 56, 56)
        x = self.layer1(x)  #                     (B, 64 * expansion, 56, 56)
        x = self.layer2(x)  #                     (B, 128 * expansion, 28, 28)
        x = self.layer3(x)  #                     (B, 256 * expansion, 14, 14)
        x = self.layer4(x)  #                     (B, 512 * expansion, 7, 7)
        x = torch.flatten(self.avgpool(x), 1)  #  (B, 512 * expansion)
        return self.fc(x)  #                      (B, num_classes)


def stage(row: TrickRow, in_channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    """`depth` units; only the first one changes the size and the number of channels."""
    units: list[nn.Module] = [row.block(row, in_channels, width, stride)]
    units += [row.block(row, width * row.block.expansion, width, 1) for _ in range(depth - 1)]
    return nn.Sequential(*units)


def make_stem(row: TrickRow, in_channels: int, width: int) -> nn.Module:
    """(B, in_channels, H, W) -> (B, width, H/2, W/2), without the norm that follows."""
    if row.stem is None:
        return conv7x7(in_channels, width)
    first, second = row.stem
    return nn.Sequential(
        conv3x3(in_channels, first, stride=2),
        row.norm(first),
        nn.ReLU(),
        conv3x3(first, second),
        row.norm(second),
        nn.ReLU(),
        conv3x3(second, width),
    )


# What the letters and the widths in a name stand for.
RESNET_C: dict[str, Any] = {"stem": (32, 32)}
RESNET_D: dict[str, Any] = {"stem": (32, 32), "average": True}
RESNET_S: dict[str, Any] = {"stem": (64, 64)}
RESNET_T: dict[str, Any] = {"stem": (24, 32), "average": True}
NEXT_32X4D: dict[str, Any] = {"groups": 32, "group_width": 4}
NEXT_32X8D: dict[str, Any] = {"groups": 32, "group_width": 8}
NEXT_64X4D: dict[str, Any] = {"groups": 64, "group_width": 4}
GROUP_NORM: dict[str, Any] = {"norm": partial(nn.GroupNorm, 32)}  # arXiv:1803.08494


VARIANTS: dict[str, TrickRow] = {
    "resnet10t": TrickRow(TrickBasicBlock, (1, 1, 1, 1), **RESNET_T),
    "resnet14t": TrickRow(TrickBottleneck, (1, 1, 1, 1), **RESNET_T),
    "resnet18d": TrickRow(TrickBasicBlock, (2, 2, 2, 2), **RESNET_D),
    "resnet26d": TrickRow(TrickBottleneck, (2, 2, 2, 2), **RESNET_D),
    "resnet26t": TrickRow(TrickBottleneck, (2, 2, 2, 2), **RESNET_T),
    "resnet34d": TrickRow(TrickBasicBlock, (3, 4, 6, 3), **RESNET_D),
    "resnet50c": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_C),
    "resnet50d": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_D),
    "resnet50s": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_S),
    "resnet50t": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_T),
    "resnet101c": TrickRow(TrickBottleneck, (3, 4, 23, 3), **RESNET_C),
    "resnet101d": TrickRow(TrickBottleneck, (3, 4, 23, 3), **RESNET_D),
    "resnet101s": TrickRow(TrickBottleneck, (3, 4, 23, 3), **RESNET_S),
    "resnet152c": TrickRow(TrickBottleneck, (3, 8, 36, 3), **RESNET_C),
    "resnet152d": TrickRow(TrickBottleneck, (3, 8, 36, 3), **RESNET_D),
    "resnet152s": TrickRow(TrickBottleneck, (3, 8, 36, 3), **RESNET_S),
    "resnet200d": TrickRow(TrickBottleneck, (3, 24, 36, 3), **RESNET_D),
    "resnext50d_32x4d": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_D, **NEXT_32X4D),
    "resnet50_gn": TrickRow(TrickBottleneck, (3, 4, 6, 3), **GROUP_NORM),
}


def build(name: str, **options: Any) -> TrickResNet:
    """Build the row of VARIANTS called `name`; options are TrickResNet's keyword arguments."""
    return TrickResNet(VARIANTS[name], **options)
