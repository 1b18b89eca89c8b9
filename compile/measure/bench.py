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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compile import machine
from compile.artifact.programs import Program, ProgramFile, check_input
from compile.artifact.reading import Artifact, golden_input
from compile.artifact.status import open_to_run
from compile.backends import backend_of
from compile.errors import ZooError, by_code
from compile.loading import load_programs, running
from compile.measure.defaults import DURATION_S, ITERATIONS, WARMUP_CALLS, WARMUP_S
from compile.measure.stats import doubts, summary
from compile.runner import allocator_of, has_engine, measure
from compile.spec import ROWS


def bench(
    path: Path,
    runner: Path | None,
    *,
    duration: float | None = None,
    iterations: int | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Measure one artifact; return `{"artifact", "runner": report or None, "python": report}`.

    A run ends when `duration` seconds and `iterations` are both met; one given alone governs alone.
    Where neither is given, both are those of compile.measure.defaults. The reports have the keys of
    zoo-run's JSON. The runner's is None if zoo-run has no engine for the backend, or is not
    there.
    """
    if duration is None and iterations is None:
        duration, iterations = DURATION_S, ITERATIONS
    manifest = open_to_run(path).manifest
    backend = backend_of(manifest, path)
    by_runner = None
    if runner is not None and has_engine(runner, manifest["backend"]):
        options = [] if duration is None else ["--duration", str(duration)]
        options += [] if iterations is None else ["--iterations", str(iterations)]
        by_runner = measure(runner, path, options, threads)
    preload = allocator_of(runner) if runner and backend.PRELOADS_ALLOCATOR else None
    by_python = _in_python(path, duration or 0.0, iterations or 1, threads, preload)
    return {"artifact": str(path), "runner": by_runner, "python": by_python}


def _in_python(
    path: Path, duration: float, iterations: int, threads: int | None, preload: str | None
) -> dict[str, Any]:
    """The same file in a Python process of its own."""
    words = [str(path.resolve()), str(duration), str(iterations)]
    words.append(str(threads or machine.usable_cores()))
    what = f"measuring {path.name} from Python"
    return in_own_process("compile.measure.bench", words, what, preload=preload)


def in_own_process(
    module: str, words: list[str], what: str, *, preload: str | None = None
) -> dict[str, Any]:
    """The JSON document that `python -m MODULE WORDS` prints; -P keeps the working directory out.

    `preload` is a library to load first. The error that the process ends with says that `what`
    failed.
    """
    here = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": here}
    if preload is not None:
        environment["LD_PRELOAD"] = preload
    command = [sys.executable, "-P", "-m", module, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise by_code(done.returncode)(f"{what} failed: {lines[-1]}")
    return json.loads(done.stdout)


def usual_input(artifact: Artifact) -> tuple[torch.Tensor, ProgramFile]:
    """Golden rows as an input of the smallest batch, and the program that answers it."""
    batch = artifact.programs[0].batch[0]
    x = golden_input(artifact)[torch.arange(batch) % ROWS].contiguous()
    return x, check_input(x, artifact.input, artifact.programs)


def measure_here(path: Path, duration: float, iterations: int, threads: int) -> dict[str, Any]:
    """Measure an artifact in this process; both the duration and the iterations are met.

    What is timed is the program alone, as in the runner: the input is validated once, before the
    first call, and lies on the program's device.
    """
    torch.set_num_threads(threads)
    start = time.perf_counter_ns()
    artifact = open_to_run(path)
    programs = load_programs(artifact)
    load_ns = time.perf_counter_ns() - start
    x, program = usual_input(artifact)
    with running(artifact, program):
        x = x.to(artifact.manifest["device"])
        timed = _timed(programs[program], x, duration, iterations)
    reasons = doubts(timed.samples_ns, timed.skew)
    return {
        "artifact": str(path),
        "backend": artifact.manifest["backend"],
        "precision": artifact.manifest["precision"],
        "batch": len(x),
        "load_ms": load_ns / 1e6,
        "first_call_ms": timed.first_ns / 1e6,
        "second_call_ms": timed.second_ns / 1e6,
        "latency_ms": summary(timed.samples_ns),
        "throughput_per_s": throughput(len(x), len(timed.samples_ns), timed.steady_ns),
        "clock_skew": timed.skew,
        "verdict": "INVALID" if reasons else "VALID",
        "reasons": reasons,
        "conditions": {
            **machine.conditions(),
            "threads": threads,
            "allocator": machine.allocator(),
            "executor": backend_of(artifact.manifest, path).runs_in(),
        },
        "samples_ns": timed.samples_ns,
    }


@dataclass(frozen=True, kw_only=True)
class _Timed:
    """How long the calls of a program took, by the steady clock."""

    first_ns: int
    second_ns: int
    samples_ns: list[int]
    """The timed calls."""
    steady_ns: int
    """From the start of the first timed call to the end of the last."""
    skew: float
    """Of the steady clock against the system clock in that time."""


def _timed(program: Program, x: torch.Tensor, duration: float, iterations: int) -> _Timed:
    """Call a program on one input, which is not looked at: warm up, then take the samples."""

    def call() -> tuple[int, int]:
        start = time.perf_counter_ns()
        program(x)
        if x.is_cuda:  # else only the launch is timed
            torch.cuda.synchronize()
        return start, time.perf_counter_ns()

    (a, b), (c, d) = call(), call()
    calls, warm = 0, time.perf_counter_ns() + int(WARMUP_S * 1e9)
    while calls < WARMUP_CALLS or time.perf_counter_ns() < warm:
        call()
        calls += 1
    spans: list[tuple[int, int]] = []
    system = time.time_ns()
    while len(spans) < iterations or spans[-1][1] - spans[0][0] < duration * 1e9:
        spans.append(call())
    system = time.time_ns() - system
    steady = spans[-1][1] - spans[0][0]
    return _Timed(
        first_ns=b - a,
        second_ns=d - c,
        samples_ns=[end - start for start, end in spans],
        steady_ns=steady,
        skew=steady / max(1, system) - 1,
    )


def throughput(batch: int, calls: int, steady_ns: int) -> float:
    """Samples per second: batch times calls over the wall time of the timed region, which runs from
    the start of the first call to the end of the last by the steady clock. zoo-run's is the same.
    """
    return batch * calls * 1e9 / max(1, steady_ns)


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
