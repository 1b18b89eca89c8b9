"""zoo bench --sweep: one artifact in every combination of batch, threads and streams."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import zoo
from compile.errors import BadArtifact, Unavailable, UsageError
from compile.measure import sweep as module
from compile.measure.settings import check_sweep, parse_sweep
from compile.measure.sweep import best_of, sweep
from tests.support import tiny_onnx
from zoo.cli import _run
from zoo.cli.sweep_table import sweep_table


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """It answers batches 1 to 64."""
    return tiny_onnx.artifact(tmp_path / "a", backend="openvino")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int]]:
    """The options and threads of each measurement; nothing is measured."""
    made: list[tuple[list[str], int]] = []

    def measure(runner: Path, path: Path, options: list[str], threads: int) -> dict[str, Any]:
        made.append((options, threads))
        batch = int(options[options.index("--batch") + 1])
        streams = int(options[options.index("--streams") + 1]) if "--streams" in options else 1
        return figures(1.0 + batch / threads * streams, 100.0 * batch * threads)

    monkeypatch.setattr(module, "measure", measure)
    monkeypatch.setattr(module, "has_engine", lambda runner, backend: True)
    return made


def figures(ms: float, per_s: float, verdict: str = "VALID") -> dict[str, Any]:
    """As much of zoo-run's report as a sweep looks at."""
    conditions = {"cpu": "a CPU", "cpu_capability": "AVX2", "torch": "2.13.0", "date": "today"}
    return {
        "latency_ms": {"median": ms, "median_interval": [0.99 * ms, 1.02 * ms]},
        "throughput_per_s": per_s,
        "verdict": verdict,
        "reasons": [] if verdict == "VALID" else ["the clocks differ by +3.0 %"],
        "conditions": conditions,
    }


def combined(report: dict[str, Any]) -> list[tuple[int, int, int]]:
    return [(each["batch"], each["threads"], each["streams"]) for each in report["settings"]]


def test_words_name_values() -> None:
    wanted = {"batch": (1, 8), "threads": (1, 2)}
    assert parse_sweep(["batch=1,8", "threads=1,2"]) == wanted
    assert parse_sweep(["batch=1,8 threads=1,2"]) == wanted


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("size=1", "'size' cannot be varied"),
        ("batch=0", "a value is out of range"),
        ("batch=1048577", "a value is out of range"),
        ("streams=257", "a value is out of range"),
        ("batch=", "must be a whole number"),
        ("batch=1,,2", "must be a whole number"),
        ("batch=-1", "must be a whole number"),
        ("batch", "has no values"),
        ("batch=1,8,1", "a value is given twice"),
        ("batch=1 batch=2", "batch is given twice"),
        (" ", "nothing varies"),
    ],
)
def test_what_is_not_allowed_is_one_line(
    word: str, fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(["bench", "--sweep", word]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert fault in line
    assert "allowed are batch (1 to 1048576), threads (1 to 1024), streams (1 to 256)" in line


@pytest.mark.parametrize("given", [{}, {"batch": []}, {"batch": [1.5]}, {"batch": [True]}])
def test_the_function_refuses_as_much(given: dict[str, list[int]]) -> None:
    with pytest.raises(UsageError, match="allowed are batch"):
        check_sweep(given)
    with pytest.raises(UsageError, match="must be a list"):
        check_sweep({"batch": "18"})  # type: ignore[dict-item]


def test_every_combination_is_measured_in_an_order_by_seed(
    artifact: Path, calls: list[tuple[list[str], int]]
) -> None:
    given = {"batch": (1, 8), "threads": (2, 4), "streams": (1, 2)}
    orders = [combined(sweep(artifact, artifact, given, seed=seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
    assert sorted(orders[0]) == [(b, t, s) for b in (1, 8) for t in (2, 4) for s in (1, 2)]
    assert orders[0] != sorted(orders[0])
    assert len(calls) == 24
    assert all("offline" in options for options, _ in calls), "those of one stream as well"


def test_what_does_not_vary_keeps_its_usual_value(
    artifact: Path, calls: list[tuple[list[str], int]]
) -> None:
    report = sweep(artifact, artifact, {"batch": (4,)}, threads=3, iterations=12)
    assert combined(report) == [(4, 3, 1)] and report["scenario"] == "single-stream"
    assert calls == [(["--iterations", "12", "--batch", "4"], 3)]
    report = sweep(artifact, artifact, {"threads": (1,)}, duration=0.5)
    assert combined(report) == [(1, 1, 1)]
    with pytest.raises(UsageError, match="give one of them"):
        sweep(artifact, artifact, {"threads": (1,)}, threads=3)


def test_what_the_artifact_cannot_do_is_skipped_with_a_reason(
    tmp_path: Path, artifact: Path, calls: list[tuple[list[str], int]]
) -> None:
    report = sweep(artifact, artifact, {"threads": (1, 2, 3), "streams": (1, 2)})
    reasons = {(each["threads"], each["streams"]): each["reason"] for each in report["skipped"]}
    assert reasons == {
        (1, 2): "1 thread cannot be divided evenly among 2 streams",
        (3, 2): "3 threads cannot be divided evenly among 2 streams",
    }
    content = tiny_onnx.model(1)
    fixed = tiny_onnx.artifact(tmp_path / "b", content, backend="openvino", batch=(1, 1))
    report = sweep(fixed, fixed, {"batch": (1, 8)}, threads=1)
    assert combined(report) == [(1, 1, 1)]
    assert report["skipped"][0]["reason"] == "batch 8: the artifact was built for 1"
    with pytest.raises(UsageError, match="nothing to measure: batch 8: the artifact"):
        sweep(fixed, fixed, {"batch": (8,)})
    with pytest.raises(UsageError, match="batch=65: this artifact answers 1 to 64"):
        sweep(artifact, artifact, {"batch": (1, 65)})


def test_a_setting_that_fails_does_not_lose_the_others(
    artifact: Path, calls: list[tuple[list[str], int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = module.measure

    def short_of_memory(runner: Path, path: Path, options: list[str], threads: int) -> Any:
        if "--batch" in options and options[-1] == "64":
            raise BadArtifact("out of memory")
        return measure(runner, path, options, threads)

    monkeypatch.setattr(module, "measure", short_of_memory)
    report = sweep(artifact, artifact, {"batch": (1, 64)}, threads=1)
    assert combined(report) == [(1, 1, 1)]
    assert [each["reason"] for each in report["skipped"]] == ["out of memory"]
    with pytest.raises(BadArtifact, match="out of memory"):
        sweep(artifact, artifact, {"batch": (64,)})


def test_without_a_zoo_run_for_it_there_is_no_sweep(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="which is not here"):
        sweep(artifact, None, {"batch": (1,)})
    monkeypatch.setattr(module, "has_engine", lambda runner, backend: False)
    with pytest.raises(Unavailable, match="has no engine for openvino"):
        sweep(artifact, artifact, {"batch": (1,)})


def test_only_valid_settings_are_the_best() -> None:
    names = ("batch", "threads", "streams")
    settings = [
        {**dict(zip(names, (1, 1, 1), strict=True)), "report": figures(1.0, 1000, "INVALID")},
        {**dict(zip(names, (1, 2, 1), strict=True)), "report": figures(2.0, 500)},
        {**dict(zip(names, (8, 2, 1), strict=True)), "report": figures(9.0, 900)},
    ]
    best = best_of(settings)
    assert best["highest_throughput"] == {"batch": 8, "threads": 2, "streams": 1}
    assert best["lowest_latency"] == {"batch": 1, "threads": 2, "streams": 1}
    assert best_of(settings[:1]) == {"highest_throughput": None, "lowest_latency": None}


def printed(report: dict[str, Any]) -> list[str]:
    console = Console(width=80, record=True, file=io.StringIO())
    for line in sweep_table(report):
        console.print(line, markup=False, highlight=False)
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_table_has_the_highest_throughput_first(
    artifact: Path, calls: list[tuple[list[str], int]]
) -> None:
    report = sweep(artifact, artifact, {"batch": (1, 8), "threads": (1, 2), "streams": (1, 2)})
    lines = printed(report)
    assert max(map(len, lines)) <= 80
    rates = [float(line.split()[-2]) for line in lines if line.endswith("VALID")]
    assert len(rates) == 6 and rates == sorted(rates, reverse=True)
    assert "skipped 2 settings: 1 thread cannot be divided evenly among 2 streams" in lines
    assert lines[-2:] == [
        "highest throughput: batch 8, 2 threads, 1 stream: 1600 images/s",
        "lowest latency: batch 1, 2 threads, 1 stream: 1.50 ms",
    ]
    for each in report["settings"]:
        each["report"] = figures(1.0, 10.0, "INVALID")
    lines = printed({**report, "highest_throughput": None, "lowest_latency": None})
    assert sum(line.startswith("INVALID batch") for line in lines) == 6
    assert lines[-1].startswith("no setting is VALID")


def test_zoo_run_measures_each_setting(
    artifact: Path, runner: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [str(artifact), "--runner", str(runner), "--iterations", "10", "--json", "--quiet"]
    given = ["--sweep", "batch=3 threads=2", "--sweep", "streams=1,2", "--seed", "5"]
    capfd.readouterr()
    assert _run(["bench", *words, *given]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["kind"] == "sweep" and report["seed"] == 5
    assert sorted(combined(report)) == [(3, 2, 1), (3, 2, 2)]
    for each in report["settings"]:
        said = each["report"]
        assert (said["batch"], said["streams"]) == (each["batch"], each["streams"])
        assert said["streams"] * said["threads_per_stream"] == each["threads"]
        assert said["latency_ms"]["n"] >= 10 and said["throughput_per_s"] > 0
    found = zoo.bench(artifact, iterations=10, sweep={"batch": [2]}, threads=1, runner=runner)
    assert combined(found) == [(2, 1, 1)]


def test_the_options_of_a_sweep(
    artifact: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(["bench", str(artifact), "--seed", "1"]) == 2
    assert "--seed is for the order of a --sweep" in capfd.readouterr().err
    root = tmp_path / "root"
    for name in ("onnx-fp32-b1-cpu", "openvino-fp32-b1-cpu"):
        tiny_onnx.artifact(root / "net-12345678" / name, backend=name.split("-")[0])
    assert _run(["bench", "--out", str(root), "--sweep", "batch=1"]) == 2
    assert "--sweep takes one artifact, found 2: name one, such as" in capfd.readouterr().err
