"""Deep residual networks, after He, Zhang, Ren and Sun, "Deep Residual Learning for Image
Recognition", 2015 (https://arxiv.org/abs/1512.03385). Figure and table numbers below refer to it.

A residual unit computes `relu(F(x) + x)`. Its layers F learn only what to *add* to their input. A
unit that is not needed can easily learn F(x) = 0. The gradient reaches every depth through the sum.
If F changes the shape, x goes through a projection (option B of section 3.3). Every other shortcut
has no parameters.

Two things differ from the paper:
- The stride of a bottleneck is on its 3x3 convolution, not on the first 1x1. This follows
  torchvision ("ResNet v1.5"), and so do the parameter names. It costs 4.1 instead of 3.8 GMAC at
  50 layers.
- `stem="small"` replaces the 7x7 convolution and the max pool with one 3x3 convolution. Use it for
  images such as 32x32, because the usual stem divides height and width by 4.

Each ReLU is a separate module, so that tools which observe or fuse modules see each one.

ResNeXt (https://arxiv.org/abs/1611.05431) splits the 3x3 convolution of a bottleneck into groups;
Wide ResNet (https://arxiv.org/abs/1605.07146) doubles its channels. Both change that one layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.models.unit import ResidualUnit, initialise


def conv7x7(in_channels: int, out_channels: int) -> nn.Conv2d:
    """The first layer: 7x7 convolution that halves the size."""
    return nn.Conv2d(in_channels, out_channels, 7, stride=2, padding=3, bias=False)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the size at stride 1. The batch norm after it has the bias."""
    return nn.Conv2d(
        in_channels, out_channels, 3, stride=stride, padding=1, groups=groups, bias=False
    )


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """1x1 convolution: a linear map of the channels of every pixel."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Shortcut with parameters: (B, in, H, W) -> (B, out, H/stride, W/stride)."""
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


class ZeroPadding(nn.Module):
    """Shortcut without parameters: every stride-th pixel, and new channels that are zero.

    (B, in, H, W) -> (B, out, H/stride, W/stride)
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(
            x, (0, 0, 0, 0, 0, self.new_channels)
        )  # last dimension first: W, H, C


def make_shortcut(
    kind: str, in_channels: int, out_channels: int, stride: int
) -> nn.Sequential | ZeroPadding | None:
    """Options A, B and C of section 3.3 and table 3; None is the identity.

    A pads with zeros if the shape changes, B projects there, C projects in every unit.
    """
    if kind not in ("A", "B", "C"):
        raise ValueError(f"the shortcut is {kind!r}; choose A, B or C")
    same_shape = stride == 1 and in_channels == out_channels
    if same_shape and kind != "C":
        return None
    make = ZeroPadding if kind == "A" else projection
    return make(in_channels, out_channels, stride)


class BasicBlock(ResidualUnit):
    """Two 3x3 convolutions and a shortcut (figure 5, left).

    (B, in_channels, H, W) -> (B, width, H/stride, W/stride)
    """

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int = 1, *, shortcut: str = "B"
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.downsample = make_shortcut(shortcut, in_channels, width, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu2(x + shortcut)


class Bottleneck(ResidualUnit):
    """1x1 to narrow, 3x3, 1x1 to widen to 4 * width, and a shortcut (figure 5, right).

    (B, in_channels, H, W) -> (B, 4 * width, H/stride, W/stride)

    The 3x3 convolution has groups * group_width channels in the first stage, where width is 64.
    Each later stage doubles them. ResNet has 1 x 64, ResNeXt 32x4d has 32 x 4, Wide ResNet 1 x 128.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        shortcut: str = "B",
        groups: int = 1,
        group_width: int = 64,
    ) -> None:
        super().__init__()
        inner = groups * group_width * width // 64
        out_channels = width * self.expansion
        self.conv1 = conv1x1(in_channels, inner)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(inner, inner, stride, groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(inner, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu3 = nn.ReLU()
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu3(x + shortcut)


Unit = type[BasicBlock] | type[Bottleneck]


class ResNet(nn.Module):
    """Stem, four stages, global average, one linear layer: (B, C, H, W) -> (B, num_classes).

    layer1 to layer4 are the paper's conv2_x to conv5_x. The shapes in `forward` are those of a
    224x224 input. With `stem="small"` the first stage sees the input's own size. Any H and W of at
    least 1 work in evaluation mode: sizes are halved and rounded up. Other keyword arguments are
    passed to every unit.
    """

    def __init__(
        self,
        unit: Unit,
        depths: tuple[int, int, int, int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: str = "imagenet",
        zero_init_residual: bool = False,
        **unit_options: Any,
    ) -> None:
        super().__init__()
        small = stem == "small"
        self.conv1 = conv3x3(in_channels, 64) if small else conv7x7(in_channels, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(unit, 64, 64, depths[0], stride=1, **unit_options)
        self.layer2 = stage(unit, 64 * unit.expansion, 128, depths[1], stride=2, **unit_options)
        self.layer3 = stage(unit, 128 * unit.expansion, 256, depths[2], stride=2, **unit_options)
        self.layer4 = stage(unit, 256 * unit.expansion, 512, depths[3], stride=2, **unit_options)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * unit.expansion, num_classes)
        initialise(self, zero_init_residual=zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # conv1    (B, 64, 112, 112)
        x = self.maxpool(x)  #                    conv2_x  (B, 64, 56, 56)
        x = self.layer1(x)  #                     conv2_x  (B, 64 * expansion, 56, 56)
        x = self.layer2(x)  #                     conv3_x  (B, 128 * expansion, 28, 28)
        x = self.layer3(x)  #                     conv4_x  (B, 256 * expansion, 14, 14)
        x = self.layer4(x)  #                     conv5_x  (B, 512 * expansion, 7, 7)
        x = torch.flatten(self.avgpool(x), 1)  #           (B, 512 * expansion)
        return self.fc(x)  #                               (B, num_classes)


def stage(
    unit: Unit, in_channels: int, width: int, depth: int, stride: int, **options: Any
) -> nn.Sequential:
    """`depth` units; only the first one changes the size and the number of channels."""
    units: list[nn.Module] = [unit(in_channels, width, stride, **options)]
    units += [unit(width * unit.expansion, width, **options) for _ in range(depth - 1)]
    return nn.Sequential(*units)


@dataclass(frozen=True)
class ResNetRow:
    """One row: the unit, how many units each stage has, and the options of each unit."""

    unit: Unit
    depths: tuple[int, int, int, int]
    unit_options: dict[str, Any] = field(default_factory=dict)


VARIANTS: dict[str, ResNetRow] = {
    # Table 1.
    "resnet18": ResNetRow(BasicBlock, (2, 2, 2, 2)),
    "resnet34": ResNetRow(BasicBlock, (3, 4, 6, 3)),
    "resnet50": ResNetRow(Bottleneck, (3, 4, 6, 3)),
    "resnet101": ResNetRow(Bottleneck, (3, 4, 23, 3)),
    "resnet152": ResNetRow(Bottleneck, (3, 8, 36, 3)),
    # timm's 26 and ResNet-200 of https://arxiv.org/abs/1603.05027.
    "resnet26": ResNetRow(Bottleneck, (2, 2, 2, 2)),
    "resnet200": ResNetRow(Bottleneck, (3, 24, 36, 3)),
    # Wide ResNet.
    "wide_resnet50_2": ResNetRow(Bottleneck, (3, 4, 6, 3), {"group_width": 128}),
    "wide_resnet101_2": ResNetRow(Bottleneck, (3, 4, 23, 3), {"group_width": 128}),
    # ResNeXt.
    "resnext50_32x4d": ResNetRow(Bottleneck, (3, 4, 6, 3), {"groups": 32, "group_width": 4}),
    "resnext101_32x4d": ResNetRow(Bottleneck, (3, 4, 23, 3), {"groups": 32, "group_width": 4}),
    "resnext101_32x8d": ResNetRow(Bottleneck, (3, 4, 23, 3), {"groups": 32, "group_width": 8}),
    "resnext101_32x16d": ResNetRow(Bottleneck, (3, 4, 23, 3), {"groups": 32, "group_width": 16}),
    "resnext101_32x32d": ResNetRow(Bottleneck, (3, 4, 23, 3), {"groups": 32, "group_width": 32}),
    "resnext101_64x4d": ResNetRow(Bottleneck, (3, 4, 23, 3), {"groups": 64, "group_width": 4}),
}


def build(name: str, **options: Any) -> ResNet:
    """Build the row of VARIANTS called `name`; options are ResNet's and its units'."""
    row = VARIANTS[name]
    return ResNet(row.unit, row.depths, **row.unit_options, **options)
