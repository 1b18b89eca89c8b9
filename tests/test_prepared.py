"""Artifacts of one network share what is expensive, and do not share what a backend may change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from compile.backends import backend
from compile.network import network
from compile.proof import quantised_tasks, samples, yardstick
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, small_prepared

PRECISIONS = ("fp32", "bf16", "int8")


def counted(patch: pytest.MonkeyPatch, *places: tuple[Any, str]) -> Counter[str]:
    """Count the calls of functions, each given as the module that calls it and its name."""
    calls: Counter[str] = Counter()

    def watch(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            calls[name] += 1
            return function(*args, **named)

        return call

    for module, name in places:
        patch.setattr(module, name, watch(name, getattr(module, name)))
    return calls


def test_artifacts_of_one_network_share_what_is_expensive(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(
        monkeypatch,
        (network, "check_module"),
        (network, "fold_batch_norms"),
        (samples, "answered"),
        (yardstick, "measure_bounds"),
        (quantised_tasks, "quantize"),
        (quantised_tasks, "oracle_on_grid"),
        (quantised_tasks, "quantisation_cost"),
    )
    prepared = small_prepared()
    for _ in range(3):
        for precision in PRECISIONS:
            prepared.task(CompileSpec(shape=SHAPE, precision=precision), backend("onnx"))
    assert calls == {
        "check_module": 1,
        "fold_batch_norms": 1,
        "answered": 1,
        "measure_bounds": len(PRECISIONS),
        "quantize": 1,
        "oracle_on_grid": 1,
        "quantisation_cost": 1,
    }


@pytest.mark.parametrize("precision", PRECISIONS)
@torch.no_grad()
def test_a_backend_may_change_the_module_it_is_given(precision: str) -> None:
    prepared = small_prepared()
    spec = CompileSpec(shape=SHAPE, precision=precision)
    changed, other = (prepared.task(spec, backend("onnx")).module for _ in range(2))
    before = [value.clone() for value in other.state_dict().values()]
    for value in changed.state_dict().values():
        value.zero_()
    assert all(map(torch.equal, other.state_dict().values(), before))
    fresh = prepared.task(spec, backend("onnx")).module
    assert all(map(torch.equal, fresh.state_dict().values(), before))
