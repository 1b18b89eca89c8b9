"""Folding leaves a batch norm alone wherever somebody might notice that it is gone.

Each network maps (N, 2, 8, 8) to (N, 4). A norm that stays is right; one that is folded wrongly
is a sound network refused.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from compile.network.fold import fold_batch_norms
from tests.support.folding import Net, X, norms, trained


class _Twice(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.norm(self.conv(x))).mean((2, 3))


class _Branches(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return (self.norm(y) + y.relu()).mean((2, 3))


class _Before(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.norm(x)).mean((2, 3))


class _OneNorm(Net):
    """One norm for two convolutions, in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(2, 4, 3) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(self.norm(conv(x)) for conv in self.convs).mean((2, 3))  # type: ignore[union-attr]


class _Loop(Net):
    """One convolution for two norms, in a loop."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2))
        self.other, self.head = nn.BatchNorm2d(2), nn.Linear(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for norm in (self.norm, self.other):
            x = norm(self.conv(x)).relu()
        return self.head(x.mean((2, 3)))


class _Decay(Net):
    """Reads a weight once more."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.conv.weight.square().sum()


class _Centre(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.norm.running_mean


class _ByHand(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(functional.conv2d(x, self.conv.weight)).mean((2, 3))


class _NormByHand(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own = self.norm
        y = functional.batch_norm(
            self.conv(x), own.running_mean, own.running_var, own.weight, own.bias, eps=0.1
        )
        return y.mean((2, 3))


class _Tied(Net):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(2, 4, 3)
        self.other.weight = self.conv.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.other(x).mean((2, 3))


class _Hidden(Net):
    """Calls its norm through a list that PyTorch does not know of."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = [self.conv, self.norm]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            x = step(x)
        return x.mean((2, 3))


class _Sequence(Net):
    """A linear layer for each step of a sequence; the norm's channels are the steps."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(32, 4), nn.BatchNorm1d(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x.reshape(-1, 4, 32))).mean(1)


class _Half(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2


def changed(change: Callable[[Any], object]) -> Callable[[], nn.Module]:
    """A plain network, to which something is done."""

    def make() -> nn.Module:
        net = Net()
        change(net)
        return net

    return make


def _double(*given: Any) -> Any:
    """A forward hook."""
    return 2 * given[2]


def _twin(net: Any) -> None:
    net.twin = net.norm


def _patched(layer: Any) -> None:
    layer.forward = types.MethodType(lambda self, x: type(self).forward(self, x) * 3, layer)


def _halve(layer: nn.Module) -> None:
    parametrize.register_parametrization(layer, "weight", _Half())


LEFT: dict[str, Callable[[], nn.Module]] = {
    "a norm called twice": _Twice,
    "an output used twice": _Branches,
    "a norm before": lambda: _Before(norm=nn.BatchNorm2d(2)),
    "one norm in a loop": _OneNorm,
    "one convolution in a loop": _Loop,
    "a weight read again": _Decay,
    "a mean read by hand": _Centre,
    "a convolution by hand": _ByHand,
    "a norm by hand": _NormByHand,
    "tied weights": _Tied,
    "a hidden name": _Hidden,
    "channels that are steps": _Sequence,
    "two names": changed(_twin),
    "a forward hook": changed(lambda net: net.norm.register_forward_hook(_double)),
    "a hook on the convolution": changed(lambda net: net.conv.register_forward_hook(_double)),
    "a pre-hook": changed(lambda n: n.norm.register_forward_pre_hook(lambda _, x: (x[0] + 1,))),
    "a backward hook": changed(lambda n: n.conv.register_full_backward_hook(lambda *_: None)),
    "a state-dict hook": changed(lambda n: n.norm.register_state_dict_post_hook(lambda *_: None)),
    "a patched norm": changed(lambda net: _patched(net.norm)),
    "a patched convolution": changed(lambda net: _patched(net.conv)),
    "a computed weight": changed(
        lambda n: parametrize.register_parametrization(n.conv, "weight", _Half())
    ),
    "a computed scale": changed(
        lambda n: parametrize.register_parametrization(n.norm, "weight", _Half())
    ),
    "weight norm": changed(lambda net: parametrizations.weight_norm(net.conv)),
    "spectral norm": changed(lambda net: parametrizations.spectral_norm(net.conv)),
}


@pytest.mark.parametrize("name", LEFT)
@torch.no_grad()
def test_it_is_left_alone(name: str) -> None:
    net = trained(LEFT[name]())
    folded = fold_batch_norms(net, X[:1])
    assert norms(folded) == norms(net) > 0
    torch.testing.assert_close(folded(X), net(X), rtol=1e-5, atol=1e-6)
