"""What an exported graph shows that calls may not: random numbers and writes, in every branch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from compile.backends import backend
from compile.errors import CheckFailed
from compile.graphs.effects import effects
from compile.network.fold import fold_batch_norms
from compile.spec import CompileSpec
from tests.support.functions import SHAPE, Middle, Net, ready, through

Tensor = torch.Tensor
IMAGE = torch.zeros(1, *SHAPE)


class Rarely(nn.Module):
    """Draws in a branch that no ordinary image takes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(
            x.sum() > 1e12, lambda x: x + torch.rand_like(x), lambda x: x.clone(), (x,)
        )


def scratch(net: Any, x: Tensor) -> Tensor:
    net.scratch[0].copy_(x.mean((0, 2, 3)))
    return x + net.scratch[0, :, None, None]


def written_anew(net: Any, x: Tensor) -> Tensor:
    net.mean = 0.9 * net.mean + x.mean()
    return x


def found(net: nn.Module) -> list[str]:
    """What the graph of a network shows."""
    with torch.no_grad():
        return list(effects(torch.export.export(net.eval(), (IMAGE,), strict=False)))


FOUND: dict[str, tuple[Net, str]] = {
    "a rare branch": (through(Rarely()), "draws random numbers in eval (torch's rand_like)"),
    "where": (
        Net(lambda net, x: torch.where(x > 1e9, torch.rand_like(x), x)),
        "the module draws random numbers in eval (torch's rand_like)",
    ),
    "dropout": (
        Net(lambda net, x: nn.functional.dropout(x, 0.5)),
        "the module draws random numbers in eval (torch's dropout)",
    ),
    "filled in place": (
        Net(lambda net, x: x * torch.empty_like(x).bernoulli_(0.9)),
        "the module draws random numbers in eval (torch's bernoulli_)",
    ),
    "a part of a buffer": (
        Net(scratch, scratch=torch.zeros(2, 16)),
        "the module writes to buffer 'scratch' (copy_)",
    ),
    "a new buffer": (
        Net(written_anew, mean=torch.zeros(())),
        "the module writes to buffer 'mean' (copy_)",
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_an_effect_is_found(case: str) -> None:
    net, words = FOUND[case]
    (text,) = found(net)
    assert words in text


def test_a_write_into_the_image_is_found() -> None:
    class Cuts(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            x[:, 0].clamp_(max=1e9)
            return super().forward(x)

    (text,) = found(Cuts(nn.Conv2d(SHAPE[0], 4, 1)))
    assert text == "the module writes to its input (clamp_) in eval; clone it first"


@pytest.mark.parametrize("case", ["where", "a part of a buffer"])
def test_it_is_refused_where_calls_show_nothing(case: str) -> None:
    prepared = ready(FOUND[case][0])
    prepared.function.check()
    with pytest.raises(CheckFailed, match="in eval"):
        prepared.task(CompileSpec(shape=SHAPE), backend("torchscript"))


def test_folding_refuses_it_too() -> None:
    with pytest.raises(CheckFailed, match="draws random numbers"):
        fold_batch_norms(FOUND["where"][0], IMAGE)


NOTHING: dict[str, Middle] = {
    "numbers nobody reads": lambda net, x: (torch.rand_like(x), x)[1],
    "dropout of nothing": lambda net, x: nn.functional.dropout(x, 0.0),
    "dropout of everything": lambda net, x: x + nn.functional.dropout(x, 1.0),
    "attention": lambda net, x: nn.functional.scaled_dot_product_attention(x, x, x),
    "its own values": lambda net, x: x.clone().add_(1).relu_(),
    "a constant's copy": lambda net, x: x + torch.zeros(3).add_(1)[0],
}


@pytest.mark.parametrize("case", NOTHING)
def test_nothing_is_found_where_nothing_happens(case: str) -> None:
    assert found(Net(NOTHING[case])) == []
