"""Latency statistics: hand-computed values, and the same figures from Python and from zoo-run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from compile.measure.bench import bench, measure_here
from compile.measure.stats import doubts, drift, median_interval, percentile, summary, supported
from zoo.cli.bench import allocators


def test_nearest_rank() -> None:
    samples = [10, 20, 30, 40]
    assert [percentile(samples, p) for p in (1, 25, 26, 50, 75, 99, 100)] == [
        *(10, 10, 20, 20, 30, 40, 40)
    ]


def test_percentiles_need_ten_samples_beyond() -> None:
    assert [supported(n, 90) for n in (99, 100)] == [False, True]
    assert [supported(n, 99) for n in (999, 1000)] == [False, True]
    assert [supported(n, 99.9) for n in (9_999, 10_000)] == [False, True]
    assert summary(list(range(1, 100)))["p90"] is None
    assert summary(list(range(1, 101)))["p90"] == 90 / 1e6


@pytest.mark.parametrize(
    ("n", "low"), [(6, 1), (9, 2), (20, 6), (100, 40), (1000, 469), (1001, 469), (10_000, 4902)]
)
def test_median_interval_by_order_statistics(n: int, low: int) -> None:
    """The ranks of the usual tables of the binomial distribution at one half."""
    assert median_interval(range(1, n + 1)) == (low, n + 1 - low)


def test_no_interval_below_six_samples() -> None:
    assert median_interval([1, 2, 3, 4, 5]) is None


def test_doubts() -> None:
    steady = [1000 + i % 3 for i in range(100)]
    assert doubts(steady, 0.0) == []
    assert "clocks" in doubts(steady, 0.02)[0]
    assert "half" in doubts([*steady, *(2 * s for s in steady)], 0.0)[-1]
    assert "interval" in doubts([1000, 2000] * 50, 0.0)[0]
    assert "few" in doubts([1000] * 5, 0.0)[0]


def test_drift_compares_halves_in_time() -> None:
    assert drift([10, 10, 99, 11, 11]) == pytest.approx(0.1)
    assert drift([10]) is None


def test_python_and_the_runner_compute_the_same(built: dict[str, Path], runner: Path) -> None:
    command = [runner, built["torchscript"], "--duration", "0.3", "--iterations", "1100"]
    command += ["--json", "-", "--percentiles", "25,90,99"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    theirs, samples = report["latency_ms"], report["samples_ns"]
    ours = summary(samples, (25, 90, 99))
    assert len(samples) >= 1100
    for key, value in ours.items():
        assert theirs[key] == pytest.approx(value, rel=1e-9), key
    assert report["drift"] == pytest.approx(drift(samples), rel=1e-9)
    assert (report["verdict"] == "VALID") == (not doubts(samples, report["clock_skew"]))


def test_bench_reports_both_places(built: dict[str, Path], runner: Path) -> None:
    report = bench(built["inductor-bf16"], runner, duration=0.1, iterations=20)
    for place in ("runner", "python"):
        assert report[place]["latency_ms"]["n"] >= 20
        assert report[place]["conditions"]["threads"] >= 1
    assert report["runner"]["peak_rss_bytes"] > 1e6
    only_python = bench(built["eager"], runner, duration=0.1, iterations=20)
    assert only_python["runner"] is None
    assert only_python["python"]["latency_ms"]["median"] > 0


def test_openvino_in_python_keeps_its_allocator(built: dict[str, Path], runner: Path) -> None:
    """Its package ends with a double free where another is preloaded."""
    report = bench(built["openvino"], runner, duration=0.1, iterations=20)
    assert report["runner"]["latency_ms"]["n"] >= 20
    assert report["python"]["conditions"]["allocator"] == "glibc"


def test_a_measurement_here_meets_both_limits(built: dict[str, Path]) -> None:
    report = measure_here(built["torchscript"], duration=0.2, iterations=5, threads=1)
    assert report["latency_ms"]["n"] >= 5
    assert sum(report["samples_ns"]) >= 0.15e9


def test_the_table_names_an_allocator_of_its_own() -> None:
    def report(backend: str, allocator: str, *, runner: bool) -> dict[str, Any]:
        python = {"backend": backend, "conditions": {"allocator": allocator}}
        mine = {"conditions": {"allocator": "/lib/libtcmalloc_minimal.so.4"}} if runner else None
        return {"python": python, "runner": mine}

    tcmalloc = report("inductor", "/usr/lib/libtcmalloc_minimal.so.4.5.10", runner=True)
    openvino = report("openvino", "glibc", runner=True)
    own = ("libtcmalloc_minimal.so.4", "; openvino in Python: glibc")
    assert allocators([tcmalloc, openvino]) == allocators([openvino]) == own
    assert allocators([tcmalloc])[1] == ""
    assert allocators([report("eager", "glibc", runner=False)]) == ("glibc", "")
