"""Whether two places, or two calls, give the same bits, as `zoo check` measures it."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from compile.proof import check, determinism
from compile.proof.check import check_artifact
from compile.proof.determinism import measure_determinism
from compile.runner import run_inputs
from tests.support.networks import SHAPE


def test_python_and_the_runner_are_compared_bit_by_bit(
    built: dict[str, Path], runner: Path
) -> None:
    for kind in ("torchscript", "inductor", "openvino"):
        rows = check_artifact(built[kind], runner)
        for row in rows:
            if row.ran_in != "zoo-run":
                assert row.same_bits is None
                continue
            assert row.same_bits is not None
            assert row.same_bits["threads"] == torch.get_num_threads()
            assert set(row.same_bits["allocators"]) == {"python", "zoo-run"}
            assert row.same_bits["identical"] is (row.same_bits["ulps"] == 0)
            assert row.same_bits["max_abs"] < 1e-5


def test_a_difference_of_one_bit_is_told(
    built: dict[str, Path], runner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def next_number(*given: Any, **named: Any) -> torch.Tensor:
        out = run_inputs(*given, **named)
        out[3, 1] = torch.nextafter(out[3, 1], torch.tensor(torch.inf))
        return out

    (row,) = check_artifact(built["torchscript"], runner)[1:]
    same = row.same_bits
    monkeypatch.setattr(check, "run_inputs", next_number)
    (row,) = check_artifact(built["torchscript"], runner)[1:]
    assert same is not None and same["ulps"] == 0
    assert row.same_bits is not None and row.verdict == "PASSED"
    assert (row.same_bits["identical"], row.same_bits["ulps"]) == (False, 1)
    assert 0 < row.same_bits["max_abs"] < 1e-6


def test_ulps_are_counted() -> None:
    x = torch.tensor([1.0, -1.0, 0.0, 3e38])
    assert determinism.compare(x, x.clone()) == {"identical": True, "ulps": 0, "max_abs": 0.0}
    up = torch.nextafter(x, torch.tensor([2.0, -2.0, 1.0, 1.0]))
    assert determinism.compare(x, up)["ulps"] == 1
    either_side = torch.tensor([1e-45]), torch.tensor([-1e-45])
    assert determinism.compare(*either_side)["ulps"] == 2
    signs = determinism.compare(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert (signs["identical"], signs["ulps"]) == (False, 0)
    broken = determinism.compare(torch.tensor([torch.nan]), torch.tensor([1.0]))
    assert broken == {"identical": False, "ulps": None, "max_abs": None}


def test_a_program_that_does_not_repeat_itself_is_found() -> None:
    x = torch.randn(4, *SHAPE)
    steps, loads = count(), count()

    def steady(rows: torch.Tensor) -> torch.Tensor:
        return rows.mean((2, 3))

    def restless(rows: torch.Tensor) -> torch.Tensor:
        return rows.mean((2, 3)) + (1e-7 if next(steps) == 900 else 0)

    def another() -> Callable[[torch.Tensor], torch.Tensor]:
        shift = 1e-7 * next(loads)
        return lambda rows: rows.mean((2, 3)) + shift

    def found(load: Callable[[], Callable[[torch.Tensor], torch.Tensor]]) -> bool:
        return bool(measure_determinism(load(), load, x, (1, 4))["bit_identical"])

    assert found(lambda: steady)
    assert not found(lambda: restless)
    assert not found(another)


def test_repeating_ends_in_time_and_says_how_often() -> None:
    x = torch.randn(4, *SHAPE)
    entry = measure_determinism(torch.sum, lambda: torch.sum, x, (2, 4), calls=10**6, seconds=0.0)
    assert entry["calls"] == determinism.FEWEST


def test_check_repeats_as_often_as_it_is_told(copy_of: Callable[[str], Path], runner: Path) -> None:
    folder = copy_of("torchscript")
    (row, _) = check_artifact(folder, runner, calls=37)
    assert row.determinism is not None
    assert (row.determinism["calls"], row.determinism["runners_identical"]) == (37, True)
    report = json.loads(folder.with_name("parity-torchscript.json").read_text())
    assert report["rows"][0]["determinism"]["calls"] == 37
