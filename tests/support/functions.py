"""A small network with a place in its middle for whatever a test has to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from compile.proof.prepared import PreparedModel

SHAPE = (3, 8, 8)

Middle = Callable[[Any, torch.Tensor], torch.Tensor]
"""(the network, x (N, 16, 4, 4)) -> the same shape."""


class Net(nn.Module):
    """A convolution, a middle, and a linear layer; one class is far ahead."""

    def __init__(self, middle: Middle, **kept: Any) -> None:
        """`kept` becomes attributes; a tensor becomes a buffer."""
        super().__init__()
        self.conv = nn.Conv2d(SHAPE[0], 16, 3, stride=2, padding=1)
        self.fc = nn.Linear(16, 10)
        self.middle = middle
        for name, value in kept.items():
            if isinstance(value, torch.Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)
        with torch.no_grad():
            self.fc.bias[3] += 3.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.middle(self, self.conv(x).relu()).mean((2, 3)))


class Wrapped(nn.Module):
    """A function as a layer of its own, to see that messages name it."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class Tokens(nn.Module):
    """Gives a layer its pixels as tokens (N, 16, C), and makes a picture of what it returns."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        given = (tokens,) * 3 if isinstance(self.layer, nn.MultiheadAttention) else (tokens,)
        returned = self.layer(*given)
        returned = returned[0] if isinstance(returned, tuple) else returned
        return returned.transpose(1, 2).reshape(x.shape)


class Tiring(nn.Module):
    """A module that is right for a hundred calls; then it adds 1 to each output."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return self.module(x) + torch.where(self.calls > 100, 1.0, 0.0)


def through(layer: nn.Module) -> Net:
    """A network whose middle is a layer."""
    return Net(lambda net, x: net.layer(x), layer=layer)


def ready(module: nn.Module) -> PreparedModel:
    """The network, seeded and prepared."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and type(layer.weight) is nn.Parameter:
                layer.reset_parameters()
    return PreparedModel(module, SHAPE)
