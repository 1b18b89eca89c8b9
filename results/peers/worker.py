"""A process that runs a tool that is not ours, and takes turns as `zoo-run --turns` does.

It runs in the tool's own environment, where neither torch nor zoo need be. A line on stdin is
CALLS NANOSECONDS: make so many calls untimed, then timed ones for so long; `end` ends it. Each
line on stdout is one JSON object: `batch` and `call_ns` at first, `samples_ns` of a turn, and at
the end what was found out about the tool. With --output it only answers: a .npy of all samples.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from results.peers.tools import tool
from results.peers.tools.task import CannotRun, Task

WARMUP_CALLS = 10
WARMUP_NS = 1_000_000_000
"""The calls end after so long, and after one call at least."""
FEWEST_CALLS = 2
LAST_TURN = "end"
LACKING = 4
"""The exit code of a tool that cannot do what it was asked, as in zoo-run."""

Array = np.ndarray[Any, Any]


def main() -> None:
    """Do what the options say; a tool that cannot do it is one line on stderr."""
    options = parsed()
    out = own_stdout()
    try:
        module = tool(options.tool)
        opened = module.Opened(
            Task(
                model=options.model,
                precision=options.precision,
                threads=options.threads,
                streams=options.streams,
            )
        )
    except (CannotRun, ImportError) as error:
        print(error, file=sys.stderr)
        sys.exit(LACKING)
    samples = np.load(options.samples, allow_pickle=False)
    if options.output is not None:
        np.save(options.output, answers(opened, samples, options.batch))
        return
    ends = {"version": module.VERSION, "settings": opened.settings}
    x = np.ascontiguousarray(samples[np.arange(options.batch) % len(samples)])
    take_turns(opened, x, options.streams, ends, sys.stdin, out)


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m results.peers.worker", description=__doc__)
    parser.add_argument("tool")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help=".npy of float32 (N, C, H, W)")
    parser.add_argument("--precision", required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def own_stdout() -> TextIO:
    """The stdout for the protocol alone: what a tool prints goes to stderr."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return own


def answers(opened: Any, samples: Array, batch: int) -> Array:
    """The outputs (N, ...) of all samples, in calls of `batch`, which divides N."""
    chunks = np.split(samples, len(samples) // batch)
    return np.concatenate(
        [np.array(opened.calls(np.ascontiguousarray(chunk))[0]()) for chunk in chunks]
    )


def take_turns(
    opened: Any, x: Array, streams: int, ends: dict[str, Any], lines: TextIO, out: TextIO
) -> None:
    """Answer each line of `lines` until the last turn."""

    def say(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=out, flush=True)

    call = opened.calls(x)[0]
    start = time.perf_counter_ns()
    first = np.array(call())
    first_ns = time.perf_counter_ns() - start
    warm = [timed(call)]
    while len(warm) < WARMUP_CALLS and sum(warm) < WARMUP_NS:
        warm.append(timed(call))
    say({"batch": len(x), "call_ns": warm[-1]})
    for line in lines:
        if line.strip() == LAST_TURN:
            break
        calls, nanoseconds = map(int, line.split())
        if streams > 1:
            count, elapsed = opened.flow(x, nanoseconds / 1e9)
            say({"samples_ns": [elapsed // max(1, count)], "calls": count})
            continue
        say({"samples_ns": turn(call, calls, nanoseconds)})
    stable = np.array_equal(first, np.array(call()), equal_nan=True)
    say({**ends, "first_call_ms": first_ns / 1e6, "output_stable": stable, "flaw": ""})


def timed(call: Any) -> int:
    """Nanoseconds of a call."""
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def turn(call: Any, calls: int, nanoseconds: int) -> list[int]:
    """The times of the calls of one turn, in nanoseconds; some calls before them are not timed."""
    for _ in range(calls):
        call()
    start, samples = time.perf_counter_ns(), []
    while len(samples) < FEWEST_CALLS or time.perf_counter_ns() - start < nanoseconds:
        samples.append(timed(call))
    return samples


if __name__ == "__main__":
    main()
