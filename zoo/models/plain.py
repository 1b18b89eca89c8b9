"""Plain networks: the residual ones with the shortcut left out and nothing else changed.

They are the other half of the experiments of He et al., "Deep Residual Learning for Image
Recognition", 2015 (https://arxiv.org/abs/1512.03385): beyond some twenty layers a plain network
gets worse the deeper it is, on the training set too, while its residual twin gets better. A twin
with option A shortcuts has the same parameters, of the same names and shapes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.models import cifar, resnet


class PlainBlock(resnet.BasicBlock):
    """Two 3x3 convolutions: a basic block without its shortcut.

    (B, in_channels, H, W) -> (B, width, H/stride, W/stride)
    """

    has_shortcut = False

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__(in_channels, width, stride, shortcut="A")
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(x)))


# The residual twin of each.
VARIANTS = {
    "plain18": "resnet18",
    "plain34": "resnet34",
    "plain20": "resnet20",
    "plain32": "resnet32",
    "plain44": "resnet44",
    "plain56": "resnet56",
    "plain110": "resnet110",
}


def build(name: str, **options: Any) -> nn.Module:
    """Build the row of VARIANTS called `name`; options are those of its twin's class."""
    twin = VARIANTS[name]
    if twin in cifar.VARIANTS:
        return cifar.CifarResNet(PlainBlock, cifar.VARIANTS[twin], **options)
    return resnet.ResNet(PlainBlock, resnet.VARIANTS[twin].depths, **options)
