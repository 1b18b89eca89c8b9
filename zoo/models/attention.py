"""Residual networks whose units end in channel attention: SE and ECA, under timm's names.

What a branch adds is scaled, channel by channel, by a gate in 0..1 that depends on the means of the
whole image, so a channel can be switched off when it does not matter. The stems and shortcuts (d,
t) are those of zoo/models/tricks.py.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from zoo.models.tricks import (
    NEXT_32X4D,
    NEXT_32X8D,
    NEXT_64X4D,
    RESNET_D,
    RESNET_S,
    RESNET_T,
    TrickBasicBlock,
    TrickBottleneck,
    TrickResNet,
    TrickRow,
)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate that sees all channels' means: (B, C, H, W) -> the same.

    Hu, Shen and Sun, "Squeeze-and-Excitation Networks", 2017 (https://arxiv.org/abs/1709.01507).
    The hidden layer has `ratio` of the channels, to the nearest multiple of 8 and at least 8.
    """

    def __init__(self, channels: int, ratio: float = 1 / 16) -> None:
        super().__init__()
        hidden = max(8, int(channels * ratio + 4) // 8 * 8)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
        gate: Tensor = self.gate(self.fc2(self.relu(self.fc1(means))))
        return x * gate


class NeighbourAttention(nn.Module):
    """Scale each channel by a gate that sees the means of its neighbours: (B, C, H, W) -> the same.

    Wang et al., "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
    2019 (https://arxiv.org/abs/1910.03151). How many neighbours grows with log2(C) / 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = int((math.log2(channels) + 1) / 2)
        size = max(3, size + 1 - size % 2)  # odd
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3)).unsqueeze(1)  # (B, 1, C)
        gate: Tensor = self.gate(self.conv(means)).squeeze(1)  # (B, C)
        return x * gate[:, :, None, None]


SE: dict[str, Any] = {"attention": SqueezeExcite}
ECA: dict[str, Any] = {"attention": NeighbourAttention}
# Its paper counts the three convolutions of the stem.
SENET: dict[str, Any] = RESNET_S | SE | NEXT_64X4D | {"narrow": 2, "projection": 3}

VARIANTS: dict[str, TrickRow] = {
    "seresnet18": TrickRow(TrickBasicBlock, (2, 2, 2, 2), **SE),
    "seresnet34": TrickRow(TrickBasicBlock, (3, 4, 6, 3), **SE),
    "seresnet50": TrickRow(TrickBottleneck, (3, 4, 6, 3), **SE),
    "seresnet50t": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_T, **SE),
    "seresnet101": TrickRow(TrickBottleneck, (3, 4, 23, 3), **SE),
    "seresnet152": TrickRow(TrickBottleneck, (3, 8, 36, 3), **SE),
    "seresnet152d": TrickRow(TrickBottleneck, (3, 8, 36, 3), **RESNET_D, **SE),
    "seresnet200d": TrickRow(TrickBottleneck, (3, 24, 36, 3), **RESNET_D, **SE),
    "seresnet269d": TrickRow(TrickBottleneck, (3, 30, 48, 8), **RESNET_D, **SE),
    "seresnext26d_32x4d": TrickRow(TrickBottleneck, (2, 2, 2, 2), **RESNET_D, **SE, **NEXT_32X4D),
    "seresnext26t_32x4d": TrickRow(TrickBottleneck, (2, 2, 2, 2), **RESNET_T, **SE, **NEXT_32X4D),
    "seresnext50_32x4d": TrickRow(TrickBottleneck, (3, 4, 6, 3), **SE, **NEXT_32X4D),
    "seresnext101_32x4d": TrickRow(TrickBottleneck, (3, 4, 23, 3), **SE, **NEXT_32X4D),
    "seresnext101_32x8d": TrickRow(TrickBottleneck, (3, 4, 23, 3), **SE, **NEXT_32X8D),
    "seresnext101d_32x8d": TrickRow(TrickBottleneck, (3, 4, 23, 3), **RESNET_D, **SE, **NEXT_32X8D),
    "seresnext101_64x4d": TrickRow(TrickBottleneck, (3, 4, 23, 3), **SE, **NEXT_64X4D),
    "senet154": TrickRow(TrickBottleneck, (3, 8, 36, 3), **SENET),
    "ecaresnetlight": TrickRow(TrickBottleneck, (1, 1, 11, 3), average=True, **ECA),
    "ecaresnet26t": TrickRow(TrickBottleneck, (2, 2, 2, 2), **RESNET_T, **ECA),
    "ecaresnet50d": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_D, **ECA),
    "ecaresnet50t": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_T, **ECA),
    "ecaresnet101d": TrickRow(TrickBottleneck, (3, 4, 23, 3), **RESNET_D, **ECA),
    "ecaresnet200d": TrickRow(TrickBottleneck, (3, 24, 36, 3), **RESNET_D, **ECA),
    "ecaresnet269d": TrickRow(TrickBottleneck, (3, 30, 48, 8), **RESNET_D, **ECA),
    "ecaresnext26t_32x4d": TrickRow(TrickBottleneck, (2, 2, 2, 2), **RESNET_T, **ECA, **NEXT_32X4D),
    "ecaresnext50t_32x4d": TrickRow(TrickBottleneck, (3, 4, 6, 3), **RESNET_T, **ECA, **NEXT_32X4D),
}


def build(name: str, **options: Any) -> TrickResNet:
    """Build the row of VARIANTS called `name`; options are TrickResNet's keyword arguments."""
    return TrickResNet(VARIANTS[name], **options)
