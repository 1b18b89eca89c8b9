"""What a tool is asked to run, and what is done with any tool that was loaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Call = Callable[[], Any]
"""Runs the network on the input that it was made for; returns the output as the tool has it."""


class CannotRun(Exception):
    """The tool lacks what was asked for; the message is the reason in the table."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One network for one tool."""

    model: Path
    """The .onnx, or the .pt2 of torch.export. A tool may keep files of its own beside it."""
    precision: str
    threads: int
    """In all."""
    streams: int
    """1: calls one after another, for the latency. More: the most calls in the time."""


def flow(calls: list[Call], seconds: float) -> tuple[int, int]:
    """Make all calls again and again, each in a thread; return how many ended, and nanoseconds.

    The time ends with the last call that was begun within `seconds`. Each is made once before that.
    """
    for call in calls:
        call()
    until = time.perf_counter_ns() + int(seconds * 1e9)
    counts = [0] * len(calls)

    def work(place: int) -> None:
        while time.perf_counter_ns() < until:
            calls[place]()
            counts[place] += 1

    start = time.perf_counter_ns()
    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts), time.perf_counter_ns() - start
