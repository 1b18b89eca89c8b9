"""What Python's side of `zoo bench` times: the program, and nothing beside it."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from compile.api import compile_module
from compile.artifact.programs import Program
from compile.backends import eager
from compile.errors import BadArtifact, Unavailable
from compile.measure import bench, defaults
from compile.runner import capabilities, has_engine
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, small_net


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bench, "WARMUP_S", 0.0)
    spec = CompileSpec(shape=SHAPE, batch=(4, 4))
    return compile_module(small_net(), spec, backend="eager", root=tmp_path).path


def test_the_input_is_checked_once_and_not_in_the_timed_region(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    isfinite, load = torch.isfinite, eager.load

    def checked(x: torch.Tensor) -> torch.Tensor:
        events.append("check")
        return isfinite(x)

    def loaded(*arguments: Any) -> Program:
        program = load(*arguments)

        def call(x: torch.Tensor) -> torch.Tensor:
            events.append("call")
            return program(x)

        return call

    monkeypatch.setattr(torch, "isfinite", checked)
    monkeypatch.setattr(eager, "load", loaded)
    report = bench.measure_here(artifact, duration=0.0, iterations=5, threads=1)
    assert report["latency_ms"]["n"] == 5
    first = events.index("call")
    assert "check" in events[:first]
    assert events[first:] == ["call"] * (2 + bench.WARMUP_CALLS + 5)
    whole = report["batch"] * 5 / (sum(report["samples_ns"]) / 1e9)
    assert 0 < report["throughput_per_s"] <= whole * (1 + 1e-9)


def test_throughput_is_over_the_wall_time_of_the_timed_region(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "WARMUP_S", 0.0)
    ticks = count(0, 10)
    monkeypatch.setattr(bench.time, "perf_counter_ns", lambda: next(ticks))
    timed = bench._timed(lambda x: x, torch.zeros(1), duration=0.0, iterations=5)
    assert (timed.first_ns, timed.second_ns, timed.samples_ns) == (10, 10, [10] * 5)
    assert timed.steady_ns == 5 * 10 + 4 * 10, "the ticks between the calls count"
    assert bench.throughput(batch=8, calls=5, steady_ns=2_000_000_000) == 20.0


def test_both_languages_measure_as_long(runner: Path) -> None:
    assert capabilities(runner)["defaults"] == {
        "duration_s": defaults.DURATION_S,
        "iterations": defaults.ITERATIONS,
        "warmup_s": defaults.WARMUP_S,
        "warmup_calls": defaults.WARMUP_CALLS,
    }


def test_a_program_that_is_no_zoo_run_has_no_engines(tmp_path: Path) -> None:
    for text in ("#!/bin/sh\necho '{'\n", "#!/bin/sh\nexit 2\n"):
        program = tmp_path / f"zoo-run-{len(text)}"
        program.write_text(text)
        program.chmod(0o755)
        with pytest.raises(Unavailable, match="is not a zoo-run of this version"):
            has_engine(program, "inductor")


def test_both_limits_are_met_by_the_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "WARMUP_S", 0.0)
    ticks = count(0, 250_000_000)
    monkeypatch.setattr(bench.time, "perf_counter_ns", lambda: next(ticks))
    timed = bench._timed(lambda x: x, torch.zeros(1), duration=2.0, iterations=1)
    assert timed.steady_ns >= 2e9 > timed.steady_ns - 2 * 250_000_000


def test_a_program_that_breaks_is_one_line(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr(eager, "load", lambda *_: broken)
    with pytest.raises(BadArtifact, match=r"broke: RuntimeError: first$"):
        bench.measure_here(artifact, duration=0.0, iterations=1, threads=1)
