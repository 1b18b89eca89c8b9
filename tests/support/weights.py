"""Networks whose weights a compiler may turn into others: scaled, computed, joined, in parts.

Each maps (N, 2, 8, 8) to (N, 6); its layer has twelve or more values, since a file need not hold
shorter vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tests.support.networks import SHAPE


class Net(nn.Module):
    """A convolution of twelve channels and whatever `after` does, then the head."""

    def __init__(self, after: nn.Module | None = None, before: nn.Module | None = None) -> None:
        super().__init__()
        self.conv: Any = nn.Conv2d(SHAPE[0], 12, 3)
        self.after: Any = after or nn.ReLU()
        self.before: Any = before or nn.Identity()
        self.head: Any = nn.Linear(12, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.after(self.conv(self.before(x))).mean((2, 3)))


def seeded(make: Callable[[], nn.Module]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return make().eval()


class Affine(nn.Module):
    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5)
        self.register_buffer("shift", torch.randn(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift


class LayerScale(nn.Module):
    """With the channels last, as ConvNeXt has it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(12, 12)
        self.gamma = nn.Parameter(torch.rand(12) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + y * self.gamma.reshape(1, -1, 1, 1)


class Times(nn.Module):
    def __init__(self, factor: float, shift: float = 0.0) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.shift - x) / self.factor


class Standardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.standard(), self.bias)

    def standard(self) -> torch.Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        return (self.weight - mean) / self.weight.std((1, 2, 3), keepdim=True)


class LowRank(nn.Module):
    """W + A B, as fine-tuning leaves it."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(12, 12)
        self.left = nn.Parameter(torch.randn(12, 3))
        self.right = nn.Parameter(torch.randn(3, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.base.weight + self.left @ self.right
        return functional.linear(x.mean((2, 3)), weight, self.base.bias)[..., None, None]


class Qkv(nn.Module):
    """One weight in three parts."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(36, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (functional.linear(x.mean((2, 3)), part) for part in self.weight.chunk(3))
        return (q * k.sigmoid() + v)[..., None, None]


class Beside(nn.Module):
    """Two linear layers of one input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 12), nn.Linear(12, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.mean((2, 3))
        return (self.a(x) * self.b(x).sigmoid())[..., None, None]


class Positions(nn.Module):
    """Adds what a layer makes of a table, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, 12, 1)
        self.register_buffer("table", torch.randn(1, 3, 6, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.project(self.table)


class MadeInForward(nn.Module):
    """The same, of a table that is made anew in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(2, 12, 1)

    def table(self) -> torch.Tensor:
        line = torch.arange(6.0).sin()
        return torch.stack([line.expand(6, 6), line[:, None].expand(6, 6)])[None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.project(self.table())


class Auxiliary(Net):
    """A head for training, which no step reads."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(12, 7, 1)


def replaced(layer: Callable[[], nn.Module]) -> Callable[[], Net]:
    """A network with another first layer."""

    def make() -> Net:
        net = Net()
        net.conv = layer()
        return net

    return make


def in_groups() -> Net:
    net = Net(Affine())
    net.conv = nn.ConvTranspose2d(2, 12, 3, groups=2)
    return net


class Excited(nn.Module):
    """Squeeze and excite, with a factor behind."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(12, 12, 1), nn.Conv2d(12, 12, 1, groups=12)
        self.scale = Affine()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.scale(x * weight)
