"""Where the time of an artifact goes: how long each of its operators runs.

The profilers are those of the runtimes, from Python. They slow the program down, so what they say
is never a measurement. The program runs in a process of its own (`python -m compile.measure.profile
ARTIFACT CALLS THREADS`), because runtimes print messages while they are profiled.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from compile.artifact.status import open_to_run
from compile.backends import BACKENDS, backend, backend_of
from compile.backends.events import Event
from compile.errors import UsageError, ZooError
from compile.files import refuse_special, write_atomic
from compile.loading import load_programs, running
from compile.machine import conditions, usable_cores
from compile.measure.bench import in_own_process, usual_input

CALLS = 10
"""Profiled calls, if nothing else is asked for."""

NOT_MEASURED = "a profiled run is not a measurement: the profiler itself takes time"

_START = b'{"writtenBy": "zoo bench --profile"'
"""Of every trace. Only a file that begins with it is replaced."""


def profile(
    path: Path, trace: Path, *, calls: int = CALLS, threads: int | None = None
) -> dict[str, Any]:
    """Run an artifact under the profiler of its runtime and write the trace to `trace`.

    The trace is JSON that chrome://tracing and Perfetto read. Returns a report: `operators` have
    `operator`, `calls`, `total_ms` and `share` of the time, the longest first. The time of an
    operator does not include that of the operators that it calls.

    Args:
        path: of the artifact, on the CPU; its smallest batch is run.
        trace: where the trace goes.
        calls: of the program, after a few that warm it up.
        threads: of the program; None: all usable cores.

    Raises:
        UsageError: its backend cannot be profiled, or something else than a trace is at `trace`.
        BadArtifact: it cannot be run.
        Unavailable: the machine lacks something.
    """
    _refuse_place(trace)
    manifest = open_to_run(path).manifest
    able = [name for name in BACKENDS if backend(name).profile is not None]
    if manifest["device"] != "cpu" or manifest["backend"] not in able:
        raise UsageError(
            f"an artifact of {manifest['backend']} for {manifest['device']} cannot be profiled; "
            f"those for cpu of these backends can: {', '.join(able)}"
        )
    threads = threads or usable_cores()
    words = [str(path.resolve()), str(calls), str(threads)]
    seen = in_own_process("compile.measure.profile", words, f"profiling {path.name}")
    events = [Event(**each) for each in seen["events"]]
    write_atomic(trace, _START + b", " + _trace(path.name, events)[1:].encode())
    return {
        "kind": "profile",
        "artifact": str(path),
        **{key: manifest[key] for key in ("backend", "precision", "device")},
        "batch": seen["batch"],
        "calls": calls,
        "note": NOT_MEASURED,
        "trace": str(trace),
        "operators": by_operator(events),
        "conditions": {**conditions(), "threads": threads},
    }


def _refuse_place(trace: Path) -> None:
    """Raise UsageError unless `trace` is free, or holds an earlier trace."""
    if not trace.parent.is_dir():
        raise UsageError(f"{trace.parent} is not a folder; make it, or name another --profile")
    refuse_special(trace)
    if trace.exists():
        with trace.open("rb") as stream:
            if stream.read(len(_START)) != _START:
                raise UsageError(f"{trace} is not a trace of zoo; name another file for --profile")


def by_operator(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Calls, own time and its share of each operator, the longest first."""
    found: dict[str, list[float]] = {}
    for event in events:
        found.setdefault(event.operator, []).append(event.own_us)
    whole = sum(map(sum, found.values())) or 1.0
    rows = sorted(found.items(), key=lambda row: -sum(row[1]))
    return [
        {
            "operator": operator,
            "calls": len(times),
            "total_ms": sum(times) / 1000,
            "share": sum(times) / whole,
        }
        for operator, times in rows
    ]


def _trace(name: str, events: Iterable[Event]) -> str:
    """The Trace Event Format: complete events, in microseconds from the first one on."""
    listed = sorted(events, key=lambda event: event.start_us)
    begin = listed[0].start_us if listed else 0.0
    entries: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": name}}
    ]
    entries += (
        {
            "ph": "X",
            "name": event.name,
            "cat": event.operator,
            "ts": event.start_us - begin,
            "dur": event.duration_us,
            "pid": 1,
            "tid": event.lane,
        }
        for event in listed
    )
    document = {"displayTimeUnit": "ms", "note": NOT_MEASURED, "traceEvents": entries}
    return json.dumps(document)


def profile_here(path: Path, calls: int, threads: int) -> dict[str, Any]:
    """`batch` and `events` of so many calls in this process."""
    torch.set_num_threads(threads)
    artifact = open_to_run(path)
    run = load_programs(artifact)
    x, program = usual_input(artifact)
    profiler = backend_of(artifact.manifest, path).profile
    assert profiler is not None, "`profile` looks for that"
    with running(artifact, program):
        events = profiler(run[program], artifact.files[program.file].path, program, x, calls)
    return {"batch": len(x), "events": [asdict(event) for event in events]}


if __name__ == "__main__":
    try:
        where, count, cores = sys.argv[1:]
        json.dump(profile_here(Path(where), int(count), int(cores)), sys.stdout)
    except ZooError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
