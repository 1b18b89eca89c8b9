"""Measure an artifact: through zoo-run, and the same file from Python under the same allocator.

Python's figure is taken in a process of its own (`python -m compile.measure.bench ARTIFACT`), so
that both start cold and the allocator that zoo-run links can be preloaded there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from compile import machine
from compile.artifact.reading import golden_input, open_artifact
from compile.backends.onnx import executor
from compile.errors import ZooError, by_code
from compile.loading import load_artifact
from compile.measure.stats import doubts, summary
from compile.runner import allocator_of, has_engine, measure
from compile.spec import ROWS

DURATION_S = 3.0
ITERATIONS = 10
_WARMUP_CALLS, _WARMUP_S = 10, 1.0

_OWN_ALLOCATOR = ("openvino",)
"""Backends whose Python package ends with a double free under a preloaded tcmalloc (OpenVINO
2026.4.1, in compile_model; zoo-run, which links it, is well)."""


def bench(
    path: Path,
    runner: Path | None,
    *,
    duration: float | None = None,
    iterations: int | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Measure one artifact; return `{"artifact", "runner": report or None, "python": report}`.

    A run ends when `duration` seconds (3) and `iterations` (10) are both met; one given alone
    governs alone. The reports have the keys of zoo-run's JSON. The runner's is None where zoo-run
    has no engine for the backend, or is not there.
    """
    if duration is None and iterations is None:
        duration, iterations = DURATION_S, ITERATIONS
    manifest = open_artifact(path).manifest
    by_runner = None
    if runner is not None and has_engine(runner, manifest["backend"]):
        options = [] if duration is None else ["--duration", str(duration)]
        options += [] if iterations is None else ["--iterations", str(iterations)]
        by_runner = measure(runner, path, options, threads)
    preload = allocator_of(runner) if runner is not None else None
    if manifest["backend"] in _OWN_ALLOCATOR:
        preload = None
    by_python = _in_python(path, duration or 0.0, iterations or 1, threads, preload)
    return {"artifact": str(path), "runner": by_runner, "python": by_python}


def _in_python(
    path: Path, duration: float, iterations: int, threads: int | None, preload: str | None
) -> dict[str, Any]:
    """The same file in a Python process of its own; -P keeps the working directory out of it."""
    command = [sys.executable, "-P", "-m", "compile.measure.bench", str(path.resolve())]
    command += [str(duration), str(iterations), str(threads or machine.usable_cores())]
    here = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": here}
    if preload is not None:
        environment["LD_PRELOAD"] = preload
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        kind = by_code(done.returncode)
        raise kind(f"measuring {path.name} from Python failed: {lines[-1]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def measure_here(path: Path, duration: float, iterations: int, threads: int) -> dict[str, Any]:
    """Measure an artifact in this process; both the duration and the iterations are met.

    Inputs are validated before the timed loop, as the runner does, and not inside it.
    """
    torch.set_num_threads(threads)
    start = time.perf_counter_ns()
    artifact = open_artifact(path)
    run = load_artifact(artifact)
    load_ns = time.perf_counter_ns() - start
    batch = artifact.programs[0].batch[0]
    x = golden_input(artifact)[torch.arange(batch) % ROWS].contiguous()
    with torch.no_grad():
        first, second = _call(run, x), _call(run, x)
        calls, end = 0, time.perf_counter_ns() + int(_WARMUP_S * 1e9)
        while calls < _WARMUP_CALLS or time.perf_counter_ns() < end:
            _call(run, x)
            calls += 1
        samples, skew = _loop(run, x, duration, iterations)
    reasons = doubts(samples, skew)
    latency = summary(samples)
    return {
        "artifact": str(path),
        "backend": artifact.manifest["backend"],
        "precision": artifact.manifest["precision"],
        "batch": batch,
        "load_ms": load_ns / 1e6,
        "first_call_ms": first / 1e6,
        "second_call_ms": second / 1e6,
        "latency_ms": latency,
        "throughput_per_s": batch * len(samples) / (sum(samples) / 1e9),
        "clock_skew": skew,
        "verdict": "INVALID" if reasons else "VALID",
        "reasons": reasons,
        "conditions": {
            **machine.conditions(),
            "threads": threads,
            "allocator": machine.allocator(),
            "executor": executor() if artifact.manifest["backend"] == "onnx" else "torch",
        },
        "samples_ns": samples,
    }


def _loop(run: Any, x: torch.Tensor, duration: float, iterations: int) -> tuple[list[int], float]:
    """Samples in nanoseconds, and the skew of the steady clock against the system clock."""
    samples: list[int] = []
    steady, system = time.perf_counter_ns(), time.time_ns()
    while len(samples) < iterations or time.perf_counter_ns() - steady < duration * 1e9:
        samples.append(_call(run, x))
    elapsed = time.perf_counter_ns() - steady
    return samples, elapsed / max(1, time.time_ns() - system) - 1


def _call(run: Any, x: torch.Tensor) -> int:
    start = time.perf_counter_ns()
    run(x)
    return time.perf_counter_ns() - start


def main(arguments: list[str]) -> None:
    """`python -m compile.measure.bench ARTIFACT SECONDS ITERATIONS THREADS`: one JSON document."""
    path, duration, iterations, threads = arguments
    report = measure_here(Path(path), float(duration), int(iterations), int(threads))
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ZooError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
