"""Artifacts are proved again, and measured: `zoo.check`, `zoo.bench`, `zoo.compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from compile.proof.check import Row


def check(
    path: str | Path,
    *,
    data: tuple[Tensor, Tensor] | None = None,
    calls: int | None = None,
    threads: int | None = None,
    runner: str | Path | None = None,
) -> list[Row]:
    """Prove an artifact again and return what each of its programs did, in Python and in zoo-run.

    Args:
        path: the artifact's folder.
        data: preprocessed images (M, C, H, W) float32 and their classes (M,), to count what the
            artifact classifies correctly.
        calls: measure again, with so many calls, whether the same input always gives the same bits.
        threads: CPU threads, of torch and of zoo-run.
        runner: as in `compile`.

    A program that fails its proof is a row whose `verdict` is `FAILED`, with `reasons`; it is not
    an exception. Raises what `load` raises.

    >>> all(row.verdict == "PASSED" for row in check(path))
    """
    from compile.proof.check import check_artifact
    from compile.proof.images import Labelled
    from compile.runner import find_runner

    zoo_run = find_runner(None if runner is None else Path(runner))
    labelled = None if data is None else Labelled(images=data[0], labels=data[1])
    return check_artifact(Path(path), zoo_run, labelled, threads=threads, calls=calls)


def bench(
    path: str | Path,
    *,
    duration: float | None = None,
    iterations: int | None = None,
    threads: int | None = None,
    sweep: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    profile: str | Path | None = None,
    runner: str | Path | None = None,
) -> dict[str, Any]:
    """Measure the latency of an artifact: from zoo-run, and of the same file from Python.

    A measurement ends when `duration` seconds (3) and `iterations` calls (10) are both met; if only
    one is given, it decides alone. `threads` are CPU threads; by default all usable cores.

    With `sweep`, such as `{"batch": [1, 8], "threads": [1, 2], "streams": [1, 2]}`, zoo-run alone
    measures the artifact in every combination of the values, in an order that `seed` decides.

    With `profile`, nothing is measured: `iterations` calls (10) run under a profiler in Python, and
    a trace for chrome://tracing and Perfetto is written to that file.

    Returns `{"artifact", "runner", "python"}`. The two reports have `latency_ms` (milliseconds:
    `median` with its interval, `p90`, `p99`, ...), `verdict` (`VALID` or `INVALID`), `reasons` and
    `conditions`; the runner's is None if zoo-run is not there or has no engine for the backend.
    A sweep returns `{"settings", "skipped", "highest_throughput", "lowest_latency", ...}`: each
    setting has `batch`, `threads`, `streams` and zoo-run's `report`; each skipped one a `reason`.
    A profile returns `{"operators", ...}`: each has `operator`, `calls`, `total_ms` and `share`.

    Raises what `load` raises; for a sweep also UsageError if a value is not allowed, and
    Unavailable without a zoo-run that runs the artifact; for a profile UsageError if the artifact
    cannot be profiled, or something else than a trace lies there.

    >>> bench(path, duration=1.0)["python"]["latency_ms"]["median"]
    >>> bench(path, sweep={"batch": [1, 8]})["highest_throughput"]
    """
    from compile.measure.bench import bench as measure
    from compile.measure.profile import CALLS
    from compile.measure.profile import profile as see_operators
    from compile.measure.sweep import sweep as measure_settings
    from compile.runner import find_runner

    zoo_run = find_runner(None if runner is None else Path(runner))
    if profile is not None:
        if sweep is not None or duration is not None:
            raise UsageError("a profile measures nothing: leave out sweep and duration")
        return see_operators(Path(path), Path(profile), calls=iterations or CALLS, threads=threads)
    length: dict[str, Any] = {"duration": duration, "iterations": iterations, "threads": threads}
    if sweep is not None:
        return measure_settings(Path(path), zoo_run, sweep, seed=seed, **length)
    return measure(Path(path), zoo_run, **length)


def compare(
    *paths: str | Path,
    duration: float | None = None,
    rounds: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    runner: str | Path | None = None,
    accept_error: bool = False,
) -> dict[str, Any]:
    """Measure artifacts side by side with zoo-run, and say which is faster.

    Args:
        paths: the artifacts' folders; the others are compared with the first.
        duration: seconds of timed calls of each, in all (6).
        rounds: how often each is started anew (11, at least 6).
        batch: rows of a call; by default the artifacts' own, which must be the same.
        seed: decides the order of the turns.
        threads: CPU threads of each; by default all usable cores.
        runner: as in `compile`.
        accept_error: also measure artifacts that failed their proof.

    Returns zoo-run's report. Its `programs` have `latency_ms` and, except for the first, `ratio`:
    the time over the first one's (`value`), its 95 % `interval`, and a `verdict`: `faster`,
    `slower` or `no difference shown`.

    Raises:
        UsageError: no artifact is given, or their batches differ.
        BadArtifact: one of them cannot be run.
        Unavailable: zoo-run is not here, or has no engine for one of them.

    >>> compare(path, other)["programs"][1]["ratio"]["verdict"]
    """
    from compile.advice import no_runner
    from compile.measure.compare import compare as measure
    from compile.runner import find_runner

    if not paths:
        raise UsageError("compare takes two artifacts or more; `zoo list` shows them")
    zoo_run = find_runner(None if runner is None else Path(runner))
    if zoo_run is None:
        raise Unavailable(no_runner("comparing"))
    return measure(
        [*map(Path, paths)],
        zoo_run,
        duration=duration,
        rounds=rounds,
        batch=batch,
        seed=seed,
        threads=threads,
        accept_error=accept_error,
    )
