"""The residual networks for CIFAR-10's 32x32 images, after section 4.2 of He et al., "Deep
Residual Learning for Image Recognition", 2015 (https://arxiv.org/abs/1512.03385).

6n + 2 layers: one 3x3 convolution, three stages of n basic units with 16, 32 and 64 channels, and
one linear layer. Their shortcuts are option A of section 3.3, which has no parameters, so each has
exactly as many as the plain network of the same depth (zoo/models/plain.py) and the two can be
compared. `shortcut="B"` projects where the shape changes, "C" in every unit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.resnet import BasicBlock, conv3x3, stage
from zoo.models.unit import initialise


class CifarResNet(nn.Module):
    """Stem, three stages, global average, one linear layer: (B, C, H, W) -> (B, num_classes).

    The shapes in `forward` are those of 32x32 input; any H and W of at least 1 work. What else is
    given by name goes to every unit.
    """

    def __init__(
        self,
        block: type[BasicBlock],
        depth: int,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        zero_init_residual: bool = False,
        **unit: Any,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = stage(block, 16, 16, depth, stride=1, **unit)
        self.layer2 = stage(block, 16, 32, depth, stride=2, **unit)
        self.layer3 = stage(block, 32, 64, depth, stride=2, **unit)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)
        initialise(self, zero_init_residual=zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # (B, 16, 32, 32)
        x = self.layer1(x)  #                     (B, 16, 32, 32)
        x = self.layer2(x)  #                     (B, 32, 16, 16)
        x = self.layer3(x)  #                     (B, 64, 8, 8)
        x = torch.flatten(self.avgpool(x), 1)  #  (B, 64)
        return self.fc(x)  #                      (B, num_classes)


# n, the number of units in each stage (table 6). Multiply-adds at 32x32.
VARIANTS: dict[str, int] = {
    "resnet20": 3,  #     0.27 M parameters,   41 MMAC
    "resnet32": 5,  #     0.46 M,   69
    "resnet44": 7,  #     0.66 M,   97
    "resnet56": 9,  #     0.85 M,  125
    "resnet110": 18,  #   1.73 M,  253
    "resnet1202": 200,  # 19.4 M, 2829
}


def build(name: str, *, shortcut: str = "A", **options: Any) -> CifarResNet:
    """Build the row of VARIANTS called `name`; options are CifarResNet's keyword arguments."""
    return CifarResNet(BasicBlock, VARIANTS[name], shortcut=shortcut, **options)
