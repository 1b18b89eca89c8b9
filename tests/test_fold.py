"""Folding: batch norms vanish where nothing can notice. Where they stay: test_fold_left.py."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from compile.network.fold import fold_batch_norms
from tests.support.folding import Activated, Net, X, norms, trained


class _Rearranged(Net):
    """Gives its layer the images in another shape."""

    def __init__(self, layer: nn.Module, norm: nn.Module, *shape: int) -> None:
        super().__init__(layer, norm)
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x.reshape(len(x), *self.shape)))
        return y.flatten(2).mean(2) if y.ndim > 2 else y


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
    "a norm that does more": lambda: Net(norm=Activated(4)),
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
