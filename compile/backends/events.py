"""When each operator of a program ran, as the profiler of its runtime saw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from compile.artifact.programs import Program, ProgramFile

WARMUP_CALLS = 3
"""Before the profiled calls."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One run of one operator. Times are in microseconds."""

    operator: str
    """Its kind, such as `Conv` or `aten::relu`."""
    name: str
    """Which one of that kind; the kind again if the profiler does not say."""
    start_us: float
    duration_us: float
    own_us: float
    """The duration without that of the events inside it."""
    lane: int = 0
    """The thread that it ran in."""


def by_torch(
    run: Program, path: str, program: ProgramFile, x: torch.Tensor, calls: int
) -> list[Event]:
    """What torch's own profiler sees of a loaded program; see Backend.profile."""
    from torch.profiler import ProfilerActivity, profile

    del path, program
    for _ in range(WARMUP_CALLS):
        run(x)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(calls):
            run(x)
    return [
        Event(
            operator=each.name,
            name=each.name,
            start_us=each.time_range.start,
            duration_us=each.time_range.elapsed_us(),
            own_us=each.self_cpu_time_total,
            lane=each.thread,
        )
        for each in profiler.events() or ()
    ]
