"""A small residual network with folding bugs in reach, and the artifacts that tests build of it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from compile.proof.forms import Weight
from compile.proof.images import Calibration
from compile.proof.prepared import PreparedModel

SHAPE = (2, 8, 8)


KINDS = {
    "torchscript": ("torchscript", "fp32", (1, 1)),
    "inductor": ("inductor", "fp32", (1, 8)),
    "inductor-bf16": ("inductor", "bf16", (1, 1)),
    "inductor-int8": ("inductor", "int8", (1, 1)),
    "onnx": ("onnx", "fp32", (1, 8)),
    "onnx-int8": ("onnx", "int8", (1, 1)),
    "openvino": ("openvino", "fp32", (1, 8)),
    "eager": ("eager", "fp32", (1, 8)),
}
"""Artifact -> backend, precision, batch. Four answer a range of batches: inductor's with a static
program and a dynamic one, the others' with one program."""


PYTHON_ONLY = ("eager",)
"""Kinds that zoo-run has no engine for."""


class SmallNet(nn.Module):
    """Convolutions with batch norms, one shortcut, average pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(SHAPE[0], 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=True)
        self.bn3 = nn.BatchNorm2d(32)
        self.relu3 = nn.ReLU()
        self.fc = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)) + y)
        y = self.relu3(self.bn3(self.conv3(y)))
        return self.fc(y.mean((2, 3)))


def small_net(seed: int = 0) -> SmallNet:
    """A SmallNet whose batch norms are not those of a fresh one, which would hide folding bugs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SmallNet()
        for norm in (net.bn1, net.bn2, net.bn3):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.3, 2.0)
    return net.eval()


def values_of(weights: Iterable[Weight]) -> dict[str, torch.Tensor]:
    """The values that a file most likely holds, by the names of the weights."""
    return {weight.name: next(weight.forms()).values for weight in weights}


def small_prepared(seed: int = 0) -> PreparedModel:
    """A SmallNet with images to calibrate with."""
    images = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(11))
    return PreparedModel(
        small_net(seed), SHAPE, calibration=Calibration(images=images, source="normal noise")
    )
