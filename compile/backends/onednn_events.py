"""Which primitives of oneDNN a program of AOTInductor runs, by oneDNN's own log.

torch's profiler sees nothing of such a program. oneDNN writes a line to stdout for each primitive,
with its time. What AOTInductor compiled itself is the rest of a call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from tempfile import TemporaryFile
from time import perf_counter_ns
from typing import TYPE_CHECKING

from compile.backends.events import WARMUP_CALLS, Event

if TYPE_CHECKING:
    import torch

    from compile.artifact.programs import Program, ProgramFile

REST = "compiled kernels and the rest"


def by_onednn(
    run: Program, path: str, program: ProgramFile, x: torch.Tensor, calls: int
) -> list[Event]:
    """The primitives of each call one after the other, and the rest; see Backend.profile.

    Writing the log takes time, so how long a call takes is seen without it.
    """
    from torch.backends import mkldnn

    del path, program
    for _ in range(WARMUP_CALLS):
        run(x)
    starts = [perf_counter_ns()]
    for _ in range(calls):
        run(x)
        starts.append(perf_counter_ns())
    whole_us = median(b - a for a, b in pairwise(starts)) / 1000
    events: list[Event] = []
    logging = mkldnn.verbose(mkldnn.VERBOSE_ON)  # type: ignore[no-untyped-call]
    with TemporaryFile() as log, _stdout_in(log.fileno()), logging:
        written = 0
        for number in range(calls):
            run(x)
            ctypes.CDLL(None).fflush(None)
            size = os.fstat(log.fileno()).st_size
            lines = os.pread(log.fileno(), size - written, written).decode().splitlines()
            written = size
            events += _of_call(lines, number * whole_us, whole_us)
    return events


def _of_call(lines: list[str], start_us: float, whole_us: float) -> list[Event]:
    """Of the lines of one call, which takes `whole_us`.

    Such as onednn_verbose,v1,primitive,exec,cpu,KIND,IMPLEMENTATION,...,SHAPES,MILLISECONDS.
    """
    events: list[Event] = []
    now = start_us
    for line in lines:
        fields = line.split(",")
        if fields[0] != "onednn_verbose" or "exec" not in fields:
            continue
        kind, took = fields[fields.index("exec") + 2], float(fields[-1]) * 1000
        events.append(
            Event(
                operator=f"onednn {kind}",
                name=f"{kind} {fields[-2]}",
                start_us=now,
                duration_us=took,
                own_us=took,
            )
        )
        now += took
    rest = max(0.0, whole_us - (now - start_us))
    events.append(Event(operator=REST, name=REST, start_us=now, duration_us=rest, own_us=rest))
    return events


@contextmanager
def _stdout_in(file: int) -> Iterator[None]:
    """Let what C writes to stdout go into an open file."""
    ctypes.CDLL(None).fflush(None)
    before = os.dup(1)
    os.dup2(file, 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(before, 1)
        os.close(before)
