"""A module must be a function: random numbers, and what calls leave behind."""

from __future__ import annotations

import itertools
import math
import os
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compile.backends import backend
from compile.errors import CheckFailed
from compile.proof import repeats
from compile.proof.surroundings import SURROUNDINGS
from compile.spec import CompileSpec
from tests.support.functions import SHAPE, Middle, Net, Tokens, Wrapped, ready, through

Tensor = torch.Tensor


class InTraining(nn.Dropout):
    """Never leaves training mode."""

    def train(self, mode: bool = True) -> InTraining:
        return super().train(True)


def noise(net: Any, x: Tensor) -> Tensor:
    return x + 0.01 * torch.from_numpy(np.random.standard_normal(tuple(x.shape))).to(x.dtype)


def private_generator(net: Any, x: Tensor) -> Tensor:
    return x + torch.rand(x.shape, generator=net.generator).to(x.dtype)


def with_a_coin(net: Any, x: Tensor) -> Tensor:
    return 2 * x if random.random() < 0.1 else x


def drop_path(x: Tensor) -> Tensor:
    return x * (torch.rand(len(x), 1, 1, 1, dtype=x.dtype) > 0.2)


RANDOM: dict[str, tuple[Net, str]] = {
    "dropout": (Net(lambda net, x: F.dropout(x, 0.1)), "the forward of Net draws"),
    "channels": (Net(lambda net, x: F.dropout2d(x, 0.1)), "bernoulli_"),
    "alpha dropout": (Net(lambda net, x: F.alpha_dropout(x, 0.1, True)), "bernoulli_"),
    "tiny noise": (Net(lambda net, x: x + 1e-7 * torch.randn_like(x)), "torch's randn_like"),
    "mask": (Net(lambda net, x: x * torch.bernoulli(torch.full_like(x, 0.9))), "bernoulli"),
    "rrelu": (Net(lambda net, x: F.rrelu(x - 1, training=True)), "rrelu_with_noise"),
    "gumbel": (Net(lambda net, x: x * F.gumbel_softmax(x, dim=1)), "exponential_"),
    "chosen": (Net(lambda net, x: x[:, torch.multinomial(torch.ones(16), 16)]), "multinomial"),
    "shuffled": (Net(lambda net, x: x[:, torch.randperm(16)]), "randperm"),
    "numpy": (Net(noise), "of numpy"),
    "Python": (Net(with_a_coin), "of Python"),
    "a generator of its own": (Net(private_generator, generator=torch.Generator()), "torch's rand"),
    "left in training": (through(InTraining(0.1)), r"layer 'layer' \(InTraining\) draws"),
    "drop path": (through(Wrapped(drop_path)), r"layer 'layer' \(Wrapped\) draws"),
}


@pytest.mark.parametrize("case", RANDOM)
def test_random_numbers_are_refused(case: str) -> None:
    net, words = RANDOM[case]
    with pytest.raises(CheckFailed, match=words) as caught:
        ready(net).function.check()
    assert "random numbers in eval" in str(caught.value)


def moving_mean(net: Any, x: Tensor) -> Tensor:
    net.mean.mul_(0.9).add_(0.1 * x.mean())
    return x - net.mean


def unused_mean(net: Any, x: Tensor) -> Tensor:
    net.mean.mul_(0.9).add_(0.1 * x.mean())
    return x


def first_sets_scale(net: Any, x: Tensor) -> Tensor:
    if not net.ready:
        net.scale.copy_(x.std())
        net.ready.fill_(1)
    return x * net.scale


def keys(net: Any, x: Tensor) -> Tensor:
    net.keys[int(net.place) % 8] = x.mean((2, 3))[0]
    net.place += 1
    return x + net.keys.mean(0)[:, None, None]


def power_iteration(net: Any, x: Tensor) -> Tensor:
    weight = net.fc.weight
    net.u.copy_(F.normalize(weight @ (weight.t() @ net.u), dim=0))
    return x / (net.u @ weight).norm()


def statistics(net: Any, x: Tensor) -> Tensor:
    return F.instance_norm(x, net.mean, net.var, use_input_stats=True)


def shrunk_by_a_hook() -> Net:
    net = Net(lambda net, x: x)

    def shrink(layer: Any, given: Any) -> None:
        layer.weight.mul_(0.999)

    net.conv.register_forward_pre_hook(shrink)
    return net


WRITTEN: dict[str, tuple[Callable[[], Net], str]] = {
    "a mean": (lambda: Net(moving_mean, mean=torch.zeros(())), "buffer 'mean'"),
    "a mean nobody reads": (lambda: Net(unused_mean, mean=torch.zeros(())), "buffer 'mean'"),
    "the first image decides": (
        lambda: Net(first_sets_scale, scale=torch.ones(()), ready=torch.zeros(())),
        "buffer 'scale'",
    ),
    "keys": (lambda: Net(keys, keys=torch.zeros(8, 16), place=torch.tensor(0)), "buffer 'keys'"),
    "power iteration": (lambda: Net(power_iteration, u=torch.ones(10)), "buffer 'u'"),
    "running statistics": (
        lambda: Net(statistics, mean=torch.zeros(16), var=torch.ones(16)),
        "buffer 'mean', buffer 'var'",
    ),
    "a hook on the weights": (shrunk_by_a_hook, "weight 'conv.weight'"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_call_that_changes_a_tensor_is_refused(case: str) -> None:
    make, words = WRITTEN[case]
    with pytest.raises(CheckFailed, match=f"a call changes {words}"):
        ready(make()).function.check()


def counted(net: Any, x: Tensor) -> Tensor:
    net.count += 1
    return x * (1 + 0.01 * net.count)


def every_fiftieth(net: Any, x: Tensor) -> Tensor:
    net.count += 1
    return 2 * x if net.count % 50 == 0 else x


def first_answer(net: Any, x: Tensor) -> Tensor:
    net.cache = x if net.cache is None else net.cache
    return net.cache


def with_the_frame_before(net: Any, x: Tensor) -> Tensor:
    blended = x if net.cache is None else 0.9 * x + 0.1 * net.cache
    net.cache = x
    return blended


def list_of_keys(net: Any, x: Tensor) -> Tensor:
    net.cache.append(x.mean((2, 3), keepdim=True))
    return x + sum(net.cache[-5:])


def in_a_file(net: Any, x: Tensor) -> Tensor:
    with net.path.open("a") as file:
        file.write(".")
    return x * (1 + 0.01 * net.path.stat().st_size)


TICKS = itertools.count()

REMEMBERED: dict[str, tuple[Middle, dict[str, Any], str]] = {
    "a counter": (counted, {"count": 0}, "first in the forward of Net; .* attribute 'count'"),
    "every fiftieth call": (every_fiftieth, {"count": 0}, "in call 50 .* attribute 'count'"),
    "the first answer": (first_answer, {"cache": None}, "attribute 'cache'"),
    "the frame before": (with_the_frame_before, {"cache": None}, "in call [1-5] "),
    "a list": (list_of_keys, {"cache": []}, "attribute 'cache'"),
    "outside of it": (lambda net, x: x * (1 + next(TICKS)), {}, "first in the forward of Net"),
    "the time": (lambda net, x: x * (2 + math.sin(1e3 * time.time())), {}, "the time"),
    "the system's randomness": (lambda net, x: x * (1 + os.urandom(2)[0]), {}, "in call"),
    "numpy's new generator": (
        lambda net, x: x * (1 + float(net.generator.random())),
        {"generator": np.random.default_rng(0)},
        "first in the forward of Net",
    ),
}


@pytest.mark.parametrize("case", REMEMBERED)
def test_an_answer_that_changes_with_calls_is_refused(case: str) -> None:
    middle, kept, words = REMEMBERED[case]
    with pytest.raises(CheckFailed, match=f"changes from call to call.*{words}"):
        ready(Net(middle, **kept)).function.check()


def test_a_file_that_calls_write_is_found(tmp_path: Any) -> None:
    (tmp_path / "calls").touch()
    with pytest.raises(CheckFailed, match="changes from call to call"):
        ready(Net(in_a_file, path=tmp_path / "calls")).function.check()


def code_made_once(net: Any, x: Tensor) -> Tensor:
    if net.code is None:
        net.code = torch.linspace(0, 1, x.shape[-1])
    return x + net.code.to(x.dtype)


def layer_drop(net: Any, x: Tensor) -> Tensor:
    draws = (random.random(), np.random.rand(), torch.rand([]))
    return 0 * x if net.training and min(draws) < 0.1 else x


def remembers_for_pictures(net: Any, x: Tensor) -> Tensor:
    net.seen, net.count = x.detach(), net.count + 1
    return x


def rows_and_channels(net: Any, x: Tensor) -> Tensor:
    rows = x.permute(0, 2, 1, 3).reshape(-1, x.shape[1], x.shape[3])
    return rows.softmax(1).reshape(len(x), x.shape[2], x.shape[1], -1).permute(0, 2, 1, 3)


SOUND: dict[str, Callable[[], Net]] = {
    "dropout": lambda: through(nn.Dropout(0.5)),
    "dropout of nothing": lambda: Net(lambda net, x: F.dropout(x, 0.0)),
    "numbers nobody reads": lambda: Net(lambda net, x: (torch.rand_like(x), x)[1]),
    "noise of size 0": lambda: Net(lambda net, x: x + 0.0 * torch.randn_like(x)),
    "a layer that drops in training": lambda: Net(layer_drop),
    "rrelu": lambda: through(nn.RReLU()),
    "drawn once": lambda: Net(lambda net, x: x + net.code, code=torch.rand(16, 1, 1)),
    "made on the first call": lambda: Net(code_made_once, code=None),
    "empty, then filled": lambda: Net(lambda net, x: torch.empty_like(x).copy_(x)),
    "a place": lambda: Net(lambda net, x: x + torch.arange(4, dtype=x.dtype).sin()),
    "a buffer's copy": lambda: Net(lambda net, x: x + net.b.clone().add_(1), b=torch.ones(())),
    "momentum": lambda: through(nn.BatchNorm2d(16)),
    "instance norm": lambda: through(nn.InstanceNorm2d(16, track_running_stats=True)),
    "layer norm": lambda: through(nn.LayerNorm([16, 4, 4])),
    "group norm": lambda: through(nn.GroupNorm(4, 16)),
    "spectral norm": lambda: through(nn.utils.parametrizations.spectral_norm(nn.Conv2d(16, 16, 1))),
    "weight norm": lambda: through(nn.utils.parametrizations.weight_norm(nn.Conv2d(16, 16, 1))),
    "attention": lambda: through(Tokens(nn.MultiheadAttention(16, 4, 0.1, batch_first=True))),
    "channels shuffled": lambda: through(nn.ChannelShuffle(4)),
    "rows as a batch": lambda: Net(rows_and_channels),
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_network_is_not_refused(case: str) -> None:
    spec = CompileSpec(shape=SHAPE, batch=(1, 8))
    ready(SOUND[case]()).task(spec, backend("torchscript"))


def test_what_is_kept_and_not_used_is_not_refused() -> None:
    ready(Net(remembers_for_pictures, seen=None, count=0)).function.check()


def test_the_callers_random_numbers_go_on() -> None:
    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    net = Net(lambda net, x: x)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = drawn()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    prepared = ready(net)
    prepared.function.check()
    assert not prepared.function.mixes("float32")
    assert drawn() == expected


def test_slow_networks_are_called_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()
    net = Net(lambda net, x: (next(calls), x)[1])
    monkeypatch.setattr(repeats, "_SECONDS", -1.0)
    assert repeats.unsteady(net.eval(), [torch.zeros(1, *SHAPE), torch.ones(1, *SHAPE)]) is None
    assert next(calls) == repeats.FEWEST + 2 + len(SURROUNDINGS) + 3  # which look for counters
