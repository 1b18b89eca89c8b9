"""Whether two places, or two calls, give the same bits, as `zoo check` measures it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from compile.artifact.outputs import Layout, Output
from compile.artifact.programs import Program
from compile.proof import check, determinism
from compile.proof.check import check_artifact
from compile.proof.determinism import measure_determinism
from compile.proof.golden import Bounds, Golden
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


def proof_with(bound: float) -> tuple[Golden, Bounds]:
    """Four samples whose right answers are their means, and a bound that is the same for each."""
    x = torch.randn(4, *SHAPE)
    oracle = x.double().mean((2, 3))
    golden = Golden(
        input=x,
        pixels=x.double(),
        oracle=oracle,
        layout=Layout([Output(name="logits", shape=(oracle.shape[1],), scores=True)]),
        kinds=("normal",) * 4,
    )
    floor = torch.full((4, 1), bound, dtype=torch.float64)
    return golden, Bounds(k=2.0, e_eager=torch.zeros(4, 1, dtype=torch.float64), floor=floor)


def test_a_program_that_does_not_repeat_itself_is_found() -> None:
    steps, loads = count(), count()

    def steady(rows: torch.Tensor) -> torch.Tensor:
        return rows.mean((2, 3))

    def restless(rows: torch.Tensor) -> torch.Tensor:
        return rows.mean((2, 3)) + (1e-7 if next(steps) == 900 else 0)

    def another() -> Callable[[torch.Tensor], torch.Tensor]:
        shift = 1e-7 * next(loads)
        return lambda rows: rows.mean((2, 3)) + shift

    def found(load: Callable[[], Callable[[torch.Tensor], torch.Tensor]]) -> bool:
        repeats = measure_determinism(load(), load, *proof_with(1e-5), (1, 4))
        assert repeats.gate["passed"], "its answers are within the bound"
        return bool(repeats.entry["bit_identical"])

    assert found(lambda: steady)
    assert not found(lambda: restless)
    assert not found(another)


def test_answers_that_differ_by_more_than_the_bound_fail() -> None:
    golden, bounds = proof_with(1e-5)
    apart = torch.zeros(4, SHAPE[0])
    apart[2, 1] = 1e-3

    def jumping(times: Iterator[int], at: int, by: float) -> Program:
        return lambda rows: rows.mean((2, 3)) + (by if next(times) == at else 0)

    def gate(load: Callable[[], Program], beside: Any = ()) -> tuple[bool, str | None]:
        repeats = measure_determinism(
            load(), load, golden, bounds, (1, 4), beside=beside, calls=220
        )
        return repeats.gate["passed"], repeats.gate["worst"]

    assert gate(lambda: jumping(count(), -1, 0.0)) == (True, None)
    assert gate(lambda: jumping(count(), 200, 1e-3)) == (False, "call 200 of load 1")
    assert gate(lambda: jumping(count(), 200, 1e-6)) == (True, "call 200 of load 1")
    assert gate(lambda: jumping(count(), 200, torch.nan)) == (False, "call 200 of load 1")
    assert gate(lambda: jumping(count(), 0, 1e-3)) == (False, "call 1 of load 1")
    loads = count()
    assert gate(lambda: jumping(count(), 5 * next(loads), 1e-3)) == (False, "call 1 of load 1")
    same = golden.oracle.float()
    steady = lambda: jumping(count(), -1, 0.0)  # noqa: E731
    assert gate(steady, [(same, same.clone())]) == (True, None)
    assert gate(steady, [(same, same + apart)]) == (False, "two zoo-runs at the same time")


def test_small_steps_lead_out_of_the_bound() -> None:
    """Each call is near the one before, and the last is far from the oracle."""
    golden, bounds = proof_with(1e-5)
    steps = count()

    def drifting(rows: torch.Tensor) -> torch.Tensor:
        return rows.mean((2, 3)) - 8e-6 + 1e-7 * min(next(steps), 200)

    repeats = measure_determinism(drifting, lambda: drifting, golden, bounds, (1, 4), calls=220)
    assert not repeats.gate["passed"] and 1 < repeats.gate["value"] < 2.5


def test_repeating_ends_in_time_and_says_how_often() -> None:
    golden, bounds = proof_with(1e-5)
    means = lambda rows: rows.mean((2, 3))  # noqa: E731
    repeats = measure_determinism(
        means, lambda: means, golden, bounds, (2, 4), calls=10**6, seconds=0.0
    )
    assert repeats.entry["calls"] == determinism.FEWEST


def test_check_applies_the_gate(
    copy_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = check.load_artifact, count()

    def restless(*given: Any, **named: Any) -> Program:
        program = real(*given, **named)
        return lambda rows: program(rows) + (0.01 if next(calls) > 100 else 0)

    folder = copy_of("torchscript")
    monkeypatch.setattr(check, "load_artifact", restless)
    (row,) = check_artifact(folder, None)
    assert row.verdict == "PASSED"
    (row,) = check_artifact(folder, None, calls=200)
    assert row.verdict == "FAILED"
    assert "gate 'determinism' at call " in row.reasons[0]


def test_check_repeats_as_often_as_it_is_told(copy_of: Callable[[str], Path], runner: Path) -> None:
    folder = copy_of("torchscript")
    (row, _) = check_artifact(folder, runner, calls=37)
    assert row.determinism is not None
    assert (row.determinism["calls"], row.determinism["runners_identical"]) == (37, True)
    report = json.loads(folder.with_name("parity-torchscript.json").read_text())
    assert report["rows"][0]["determinism"]["calls"] == 37
