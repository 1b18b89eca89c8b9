"""Deep residual networks, after He, Zhang, Ren and Sun, "Deep Residual Learning for Image
Recognition", 2015 (https://arxiv.org/abs/1512.03385); figure and table numbers below are its.

A residual unit computes `relu(F(x) + x)`: the layers F only learn what is to be *added* to their
input, so a unit that is not needed has to learn zero and not the identity, and the gradient reaches
every depth through the sum. Where F changes the shape, x goes through a projection instead
(option B of section 3.3); everywhere else the shortcut has no parameters.

Two things differ from the paper's text, as in torchvision, whose parameter names these are: the
stride of a bottleneck is on its 3x3 convolution, not on the first 1x1 ("ResNet v1.5", about half a
point better and 4.1 instead of 3.8 GMAC at 50 layers); and `stem="small"` replaces the first
two layers by one 3x3 convolution for images that are too small to be quartered.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import UsageError

STEMS = ("imagenet", "small")


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution, padded to keep the size; no bias, the batch norm after it has one."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """1x1 convolution: a linear map of the channels of every pixel."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Shortcut where a unit changes the shape: (B, in, H, W) -> (B, out, H/stride, W/stride)."""
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (figure 5, left).

    (B, in_channels, H, W) -> (B, width, H/stride, W/stride)
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        # A ReLU of its own at each place, so that tools which observe or fuse modules see each.
        self.relu2 = nn.ReLU()
        same_shape = stride == 1 and in_channels == width
        self.downsample = None if same_shape else projection(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        out: Tensor = self.relu2(x + shortcut)
        return out


class Bottleneck(nn.Module):
    """1x1 to narrow, 3x3, 1x1 to widen four times, and a shortcut (figure 5, right).

    (B, in_channels, H, W) -> (B, 4 * width, H/stride, W/stride)
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu3 = nn.ReLU()
        same_shape = stride == 1 and in_channels == out_channels
        self.downsample = None if same_shape else projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        out: Tensor = self.relu3(x + shortcut)
        return out


Block = type[BasicBlock] | type[Bottleneck]

# Table 1: what a unit is, and how many stand in conv2_x .. conv5_x. Multiply-adds at 224x224.
VARIANTS: dict[str, tuple[Block, tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),  #  11.7 M parameters,  1.8 GMAC
    "resnet34": (BasicBlock, (3, 4, 6, 3)),  #  21.8 M,  3.7
    "resnet50": (Bottleneck, (3, 4, 6, 3)),  #  25.6 M,  4.1
    "resnet101": (Bottleneck, (3, 4, 23, 3)),  #  44.5 M,  7.8
    "resnet152": (Bottleneck, (3, 8, 36, 3)),  #  60.2 M, 11.5
}


class ResNet(nn.Module):
    """Stem, four stages, global average, one linear layer: (B, C, H, W) -> (B, num_classes).

    The shapes in `forward` are those of 224x224 input; with `stem="small"` the first stage sees
    the input's own size. Any H and W of at least 1 work: sizes are halved rounding up.
    """

    def __init__(
        self,
        block: Block,
        depths: tuple[int, int, int, int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: str = "imagenet",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        if stem not in STEMS:
            raise UsageError(f"unknown stem '{stem}'; choose one of: {', '.join(STEMS)}")
        if num_classes < 1 or in_channels < 1:
            raise UsageError(
                f"num_classes {num_classes} and in_channels {in_channels} must be at least 1"
            )
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        else:
            self.conv1 = conv3x3(in_channels, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool: nn.Module = nn.Identity()
        if stem == "imagenet":
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(block, 64, 64, depths[0], stride=1)
        self.layer2 = stage(block, 64 * block.expansion, 128, depths[1], stride=2)
        self.layer3 = stage(block, 128 * block.expansion, 256, depths[2], stride=2)
        self.layer4 = stage(block, 256 * block.expansion, 512, depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        """Normal weights that keep the variance of the gradient (arXiv:1502.01852).

        With `zero_init_residual` every unit starts as its shortcut alone (arXiv:1706.02677).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # conv1    (B, 64, 112, 112)
        x = self.maxpool(x)  #                    conv2_x  (B, 64, 56, 56)
        x = self.layer1(x)  #                     conv2_x  (B, 64 * expansion, 56, 56)
        x = self.layer2(x)  #                     conv3_x  (B, 128 * expansion, 28, 28)
        x = self.layer3(x)  #                     conv4_x  (B, 256 * expansion, 14, 14)
        x = self.layer4(x)  #                     conv5_x  (B, 512 * expansion, 7, 7)
        x = torch.flatten(self.avgpool(x), 1)  #           (B, 512 * expansion)
        logits: Tensor = self.fc(x)  #                     (B, num_classes)
        return logits


def stage(block: Block, in_channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    """`depth` units; only the first one changes the size and the number of channels."""
    units: list[nn.Module] = [block(in_channels, width, stride)]
    units += [block(width * block.expansion, width) for _ in range(depth - 1)]
    return nn.Sequential(*units)


def build(name: str, **options: object) -> ResNet:
    """Build the row of VARIANTS called `name`; options are ResNet's keyword arguments."""
    block, depths = VARIANTS[name]
    return ResNet(block, depths, **options)  # type: ignore[arg-type]
