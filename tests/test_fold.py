"""Folding: batch norms vanish where nothing can notice, and stay wherever something might.

Each network maps (N, 2, 8, 8) to (N, 4). A norm that stays is right as well; one that is folded
wrongly is a sound network refused.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from compile.network.fold import fold_batch_norms

X = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """A layer, a batch norm, and the mean over all places."""

    def __init__(self, layer: nn.Module | None = None, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv: Any = layer or nn.Conv2d(2, 4, 3, bias=False)
        self.norm: Any = norm or nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)).flatten(2).mean(2)


def trained(net: nn.Module) -> Any:
    """In evaluation mode, its batch norms unlike fresh ones."""
    generator = torch.Generator().manual_seed(3)
    for each in net.modules():
        if isinstance(each, nn.modules.batchnorm._NormBase) and each.running_var is not None:
            assert each.running_mean is not None
            each.running_mean.normal_(generator=generator)
            each.running_var.uniform_(0.3, 2, generator=generator)
            if each.affine:
                nn.init.uniform_(each.weight, 0.5, 1.5, generator)
                nn.init.normal_(each.bias, generator=generator)
    return net.eval()


def norms(net: nn.Module) -> int:
    """How many batch norms still do something."""
    found = [each for each in net.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    return sum(each.eps != 0.5 for each in found)


class _Rearranged(Net):
    """Gives its layer the images in another shape."""

    def __init__(self, layer: nn.Module, norm: nn.Module, *shape: int) -> None:
        super().__init__(layer, norm)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x.reshape(len(x), *self.shape)))
        return y.flatten(2).mean(2) if y.ndim > 2 else y


class _Activated(nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


class _Padded(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.pad(x, (0, 1, 0, 1)))


def _no_variance() -> nn.Module:
    net = trained(Net())
    net.norm.running_var.zero_()
    return net


FOLDED: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: _Rearranged(nn.Linear(128, 4, bias=False), nn.BatchNorm1d(4), 128),
    "one dimension": lambda: _Rearranged(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), 2, 64),
    "three dimensions": lambda: _Rearranged(nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4), 2, 4, 4, 4),
    "transposed in groups": lambda: Net(nn.ConvTranspose2d(2, 4, 3, groups=2)),
    "transposed": lambda: Net(nn.ConvTranspose2d(2, 4, 3, bias=False)),
    "groups": lambda: Net(nn.Conv2d(2, 4, 3, groups=2)),
    "statistics alone": lambda: Net(norm=nn.BatchNorm2d(4, affine=False)),
    "an odd epsilon": lambda: Net(norm=nn.BatchNorm2d(4, eps=0.37)),
    "no variance": _no_variance,
    "a norm that does more": lambda: Net(norm=_Activated(4)),
    "a convolution that does more": lambda: Net(_Padded(2, 4, 3)),
}


@pytest.mark.parametrize("name", FOLDED)
@torch.no_grad()
def test_it_is_folded(name: str) -> None:
    net = FOLDED[name]()
    net = net if name == "no variance" else trained(net)
    folded = fold_batch_norms(net, X[:1])
    assert (norms(net), norms(folded)) == (1, 0)
    wanted = net.double()(X.double())
    close = 1e-5 * float(wanted.abs().max())
    torch.testing.assert_close(folded(X).double(), wanted, rtol=0, atol=close)


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


@contextmanager
def _hook_on_everything() -> Iterator[None]:
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def test_a_hook_on_all_modules_stops_folding() -> None:
    net = trained(Net())
    with _hook_on_everything():
        assert norms(fold_batch_norms(net, X[:1])) == 1
    assert norms(fold_batch_norms(net, X[:1])) == 0


@torch.no_grad()
def test_what_cannot_be_written_down_is_not_folded() -> None:
    net = trained(Net())
    net.norm.weight.fill_(1e30)
    net.norm.running_var.fill_(1e-30)
    net.norm.eps = 1e-30
    assert norms(fold_batch_norms(net, X[:1])) == 1


class _Five(nn.Module):
    """Five pairs. The norm of the fourth is called through a name that hides."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: Any = nn.ModuleList(
            Net(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)) for _ in range(5)
        )
        self.hidden, self.head = [self.pairs[3].norm], nn.Linear(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, pair in enumerate(self.pairs):
            x = (self.hidden[0] if i == 3 else pair.norm)(pair.conv(x)).tanh()
        return self.head(x.mean((2, 3)))


class _InFloat32(_Five):
    """Cannot run in float64."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dtype == torch.float32
        return super().forward(x)


@pytest.mark.parametrize("kind", [_Five, _InFloat32])
@torch.no_grad()
def test_only_the_pair_that_would_be_wrong_stays(kind: type[_Five]) -> None:
    net = trained(kind())
    folded = fold_batch_norms(copy.deepcopy(net), X[:1])
    left = [isinstance(folded.get_submodule(f"pairs.{i}.norm"), nn.BatchNorm2d) for i in range(5)]
    assert left == [False, False, False, True, False]
    torch.testing.assert_close(folded(X), net(X), rtol=1e-5, atol=1e-6)
