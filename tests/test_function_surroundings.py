"""A module must be a function: whatever surrounds a call, and however many calls came before."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from datetime import datetime as date_and_time
from time import time as now
from typing import Any

import pytest
import torch

from compile.errors import CheckFailed
from compile.proof.surroundings import SURROUNDINGS
from tests.support.functions import Net, ready

Tensor = torch.Tensor

CALLS = 0


def twice_if(condition: Callable[[Any], bool], **kept: Any) -> Net:
    return Net(lambda net, x: 2 * x if condition(net) else x, **kept)


def counted(condition: Callable[[Any], bool], step: int = 1, **kept: Any) -> Net:
    def condition_after_counting(net: Any) -> bool:
        net.calls += step
        return condition(net)

    return twice_if(condition_after_counting, **kept)


class CountedInItsClass(Net):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        CountedInItsClass.calls += 1
        return super().forward(x * (1 if CountedInItsClass.calls < 5000 else 2))


class CountedInItsFile(Net):
    def forward(self, x: Tensor) -> Tensor:
        global CALLS
        CALLS += 1
        return super().forward(x * (1 if CALLS < 5000 else 2))


def _same(net: Any, x: Tensor) -> Tensor:
    return x


REFUSED: dict[str, tuple[Callable[[], Net], str]] = {
    "gradients": (lambda: twice_if(lambda _: torch.is_grad_enabled()), "where gradients are on"),
    "inference mode": (
        lambda: twice_if(lambda _: torch.is_inference_mode_enabled()),
        "in torch's inference mode",
    ),
    "time": (lambda: twice_if(lambda _: time.time() > 2.4e9), "20 years later"),
    "time's name": (lambda: twice_if(lambda _: now() > 2.4e9), "20 years later"),
    "today": (lambda: twice_if(lambda _: datetime.date.today().year > 2040), "20 years later"),
    "date's name": (lambda: twice_if(lambda _: date_and_time.now().year > 2040), "20 years later"),
    "seasons": (
        lambda: twice_if(lambda _: abs(time.time() - START) > 90 * 24 * 3600),
        "100 days later",
    ),
    "call 300": (
        lambda: counted(lambda net: net.calls > 300, calls=0),
        "once attribute 'calls' is",
    ),
    "call 1000": (
        lambda: counted(lambda net: net.calls % 1000 == 0, calls=0),
        "once attribute 'calls' is 999",
    ),
    "call 0": (
        lambda: counted(lambda net: net.calls <= 0, step=-1, calls=70_000),
        "once attribute 'calls' is 1;",
    ),
    "class": (lambda: CountedInItsClass(_same), "attribute 'CountedInItsClass.calls'"),
    "file": (lambda: CountedInItsFile(_same), "the global '.*CALLS'"),
}
START = time.time()


@pytest.mark.parametrize("case", REFUSED)
def test_an_answer_that_depends_on_more_than_the_image_is_refused(case: str) -> None:
    make, words = REFUSED[case]
    with pytest.raises(CheckFailed, match=words) as caught:
        ready(make()).function.check()
    assert "an answer must depend on the image alone" in str(caught.value)


def place_in_a_list(net: Any, x: Tensor) -> Tensor:
    net.calls += 1
    net.seen[(net.calls) % 8] = 1
    return x + net.offsets[0] if net.calls < 0 else x


def index_that_runs_out(net: Any, x: Tensor) -> Tensor:
    net.calls += 1
    net.seen[net.calls] = 1
    return x


def says_when(net: Any, x: Tensor) -> Tensor:
    net.when.append((now(), date_and_time.now(), torch.is_grad_enabled()))
    return x


def only_without_gradients(net: Any, x: Tensor) -> Tensor:
    assert not torch.is_grad_enabled() and time.time() < START + 3600
    return x


SOUND: dict[str, Callable[[], Net]] = {
    "a place": lambda: Net(place_in_a_list, calls=0, seen=[0] * 8, offsets=[1.0]),
    "a place that runs out": lambda: Net(index_that_runs_out, calls=0, seen=[0] * 1000),
    "noted times": lambda: Net(says_when, when=[]),
    "refuses to be called": lambda: Net(only_without_gradients),
}


@pytest.mark.parametrize("case", SOUND)
def test_what_does_not_change_the_answer_is_not_refused(case: str) -> None:
    ready(SOUND[case]()).function.check()


def test_clocks_and_counters_are_put_back() -> None:
    names = {name: dict(vars(sys.modules[name])) for name in ("time", "datetime", __name__)}
    CountedInItsClass.calls = 0
    for surroundings in SURROUNDINGS.values():
        with surroundings():
            pass
    with pytest.raises(CheckFailed):
        ready(CountedInItsClass(_same)).function.check()
    assert CountedInItsClass.calls < 5000
    for name, before in names.items():
        assert all(vars(sys.modules[name])[key] is value for key, value in before.items())
