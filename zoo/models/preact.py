"""Pre-activation residual networks, after He, Zhang, Ren and Sun, "Identity Mappings in Deep
Residual Networks", 2016 (https://arxiv.org/abs/1603.05027).

A unit computes `F(relu(norm(x))) + x`: nothing stands on the way from one sum to the next, so a
network of a thousand layers can be trained. What stands there in the original units, batch norm
and ReLU, moves in front of each convolution, and one more pair follows the last unit. When the
shape changes, the shortcut starts behind the first ReLU.

The ImageNet ones have timm's parameter names ("resnetv2_50"), with the stride on the 3x3
convolution; d and t are the stems and the averaging shortcut of zoo/models/tricks.py.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.resnet import ZeroPadding, conv1x1, conv3x3, conv7x7
from zoo.models.tricks import average_pool
from zoo.models.unit import ResidualUnit, initialise


def make_shortcut(
    kind: str, in_channels: int, out_channels: int, stride: int
) -> nn.Sequential | ZeroPadding | None:
    """A and B as in zoo/models/resnet.py; "D" projects averages of 2x2 pixels; None is x itself.

    A projection is a convolution alone: the norm before it and the next unit's are enough.
    """
    if stride == 1 and in_channels == out_channels:
        return None
    if kind == "A":
        return ZeroPadding(in_channels, out_channels, stride)
    if kind == "B" or stride == 1:
        return nn.Sequential(OrderedDict(conv=conv1x1(in_channels, out_channels, stride)))
    return nn.Sequential(OrderedDict(pool=average_pool(), conv=conv1x1(in_channels, out_channels)))


class PreActBasic(ResidualUnit):
    """Two 3x3 convolutions: (B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()
        self.conv2 = conv3x3(out_channels, out_channels)

    @property
    def last_norm(self) -> None:
        return None

    def zero_branch(self) -> None:
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(active)
        x = self.conv1(active)
        x = self.conv2(self.relu2(self.norm2(x)))
        return x + shortcut


class PreActBottleneck(ResidualUnit):
    """1x1 to a quarter, 3x3, 1x1: (B, in, H, W) -> (B, out, H/stride, W/stride)."""

    expansion = 4

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        inner = out_channels // self.expansion
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = conv1x1(in_channels, inner)
        self.norm2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv2 = conv3x3(inner, inner, stride)
        self.norm3 = nn.BatchNorm2d(inner)
        self.relu3 = nn.ReLU()
        self.conv3 = conv1x1(inner, out_channels)

    @property
    def last_norm(self) -> None:
        return None

    def zero_branch(self) -> None:
        nn.init.zeros_(self.conv3.weight)

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(active)
        x = self.conv1(active)
        x = self.conv2(self.relu2(self.norm2(x)))
        x = self.conv3(self.relu3(self.norm3(x)))
        return x + shortcut


Block = type[PreActBasic] | type[PreActBottleneck]


@dataclass(frozen=True)
class PreActRow:
    """One row: the unit, how many stand in each stage, the first stage's width, and the stem."""

    block: Block
    depths: tuple[int, ...]
    width: int
    stem: str
    shortcut: str = "B"


class PreActResNet(nn.Module):
    """Stem, stages, norm, ReLU, global average, linear: (B, C, H, W) -> (B, num_classes)."""

    def __init__(
        self,
        row: PreActRow,
        *,
        num_classes: int,
        in_channels: int = 3,
        stem: str = "imagenet",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        channels = row.width
        self.stem = make_stem(row.stem if stem == "imagenet" else "small", in_channels, channels)
        self.stages = nn.Sequential()
        for index, depth in enumerate(row.depths):
            out_channels = row.width * 2**index * row.block.expansion
            units = nn.Sequential()
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                units.append(row.block(channels, out_channels, stride, row.shortcut))
                channels = out_channels
            self.stages.append(nn.Sequential(OrderedDict(blocks=units)))
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        # A linear layer, in the shape that timm gives it.
        self.head = nn.Sequential(OrderedDict(fc=nn.Conv2d(channels, num_classes, 1)))
        initialise(self.stem)
        initialise(self.stages, zero_init_residual=zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))  #          (B, channels, H/32, W/32); CIFAR: H/4, W/4
        x = self.avgpool(self.relu(self.norm(x)))  # (B, channels, 1, 1)
        return torch.flatten(self.head(x), 1)  #  (B, num_classes)


def make_stem(kind: str, in_channels: int, width: int) -> nn.Sequential:
    """(B, in_channels, H, W) -> (B, width, H/4, W/4); "small" keeps the size. No last norm."""
    if kind == "small":
        return nn.Sequential(OrderedDict(conv=conv3x3(in_channels, width)))
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    if kind == "7x7":
        conv = conv7x7(in_channels, width)
        return nn.Sequential(OrderedDict(conv=conv, pool=pool))
    first, second = {"deep": (width // 2, width // 2), "tiered": (3 * width // 8, width // 2)}[kind]
    return nn.Sequential(
        OrderedDict(
            conv1=conv3x3(in_channels, first, stride=2),
            norm1=nn.BatchNorm2d(first),
            relu1=nn.ReLU(),
            conv2=conv3x3(first, second),
            norm2=nn.BatchNorm2d(second),
            relu2=nn.ReLU(),
            conv3=conv3x3(second, width),
            pool=pool,
        )
    )


_18, _34, _101, _152 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)

VARIANTS: dict[str, PreActRow] = {
    # Tables 2 to 4, for CIFAR. The basic units keep the option A of their originals.
    "preact110": PreActRow(PreActBasic, (18, 18, 18), 16, "small", "A"),
    "preact164": PreActRow(PreActBottleneck, (18, 18, 18), 16, "small"),
    "preact1001": PreActRow(PreActBottleneck, (111, 111, 111), 16, "small"),
    "resnetv2_18": PreActRow(PreActBasic, _18, 64, "7x7"),
    "resnetv2_34": PreActRow(PreActBasic, _34, 64, "7x7"),
    "resnetv2_50": PreActRow(PreActBottleneck, _34, 64, "7x7"),
    "resnetv2_101": PreActRow(PreActBottleneck, _101, 64, "7x7"),
    "resnetv2_152": PreActRow(PreActBottleneck, _152, 64, "7x7"),
    "resnetv2_18d": PreActRow(PreActBasic, _18, 64, "deep", "D"),
    "resnetv2_34d": PreActRow(PreActBasic, _34, 64, "deep", "D"),
    "resnetv2_50d": PreActRow(PreActBottleneck, _34, 64, "deep", "D"),
    "resnetv2_50t": PreActRow(PreActBottleneck, _34, 64, "tiered", "D"),
    "resnetv2_101d": PreActRow(PreActBottleneck, _101, 64, "deep", "D"),
    "resnetv2_152d": PreActRow(PreActBottleneck, _152, 64, "deep", "D"),
}


def build(name: str, **options: Any) -> PreActResNet:
    """Build the row of VARIANTS called `name`; options are PreActResNet's keyword arguments."""
    row = VARIANTS[name]
    num_classes = 10 if row.stem == "small" else 1000
    return PreActResNet(row, **({"num_classes": num_classes} | options))
