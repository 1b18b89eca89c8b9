"""What is measured of a program and not judged: does it repeat itself, and what does NaN do to it?

docs/parity.md explains both, under "Determinism" and "Hostile samples".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from compile.artifact.programs import Program, ProgramFile, chunk, padded
from compile.errors import BadArtifact
from compile.runner import run_inputs

CALLS = 1000
"""Calls of the program that is loaded already."""

FEWEST = 10
"""Calls that are made however long they take, and calls of each load after the first."""

LOADS = 3
"""Times that the program is loaded, the first time included."""

RUNNERS = 2
"""zoo-runs that run at the same time."""


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two float32 outputs hold the same bits; 0 and -0 differ, a NaN equals itself."""
    return one.shape == other.shape and torch.equal(one.view(torch.int32), other.view(torch.int32))


def compare(one: torch.Tensor, other: torch.Tensor) -> dict[str, Any]:
    """How two float32 outputs of one shape differ: `identical` bits, largest `ulps`, `max_abs`.

    `ulps` counts the float32 numbers between two outputs; it and `max_abs` are None where one is
    not finite and the bits differ.
    """
    if same_bits(one, other):
        return {"identical": True, "ulps": 0, "max_abs": 0.0}
    if not bool(torch.isfinite(one).all() and torch.isfinite(other).all()):
        return {"identical": False, "ulps": None, "max_abs": None}
    ulps = int((_place(one) - _place(other)).abs().max())
    max_abs = float((one.double() - other.double()).abs().max())
    return {"identical": False, "ulps": ulps, "max_abs": max_abs}


def _place(x: torch.Tensor) -> torch.Tensor:
    """The place of each float32 number among all of them, in their order; that of 0 is 0."""
    bits = x.view(torch.int32).long()
    return torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def measure_determinism(
    program: Program,
    load: Callable[[], Program],
    x: torch.Tensor,
    batch: tuple[int, int],
    *,
    beside: Sequence[Sequence[torch.Tensor]] = (),
    calls: int = CALLS,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Does a program repeat itself, to the bit? Return the manifest's `determinism`.

    `program` is called `calls` times. It is loaded again by `load` LOADS - 1 times, and each of
    these loads is called ten times.

    Args:
        x: inputs (N, ...); the first rows are used, as many as the smallest batch takes.
        batch: the smallest and the largest batch of the program.
        beside: for each program of the artifact, what `run_side_by_side` returned; empty where
            there is no zoo-run.
        seconds: no further call is made after this time, once there were ten.
    """
    rows = padded(x, batch)[: batch[0]]
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    with torch.no_grad():
        first = program(rows).cpu().clone()
        made, identical = _repeat(program, rows, first, calls, deadline)
        for _ in range(LOADS - 1):
            _, same = _repeat(load(), rows, first, FEWEST, deadline)
            identical = identical and same
    return {
        "calls": made,
        "loads": LOADS,
        "threads": torch.get_num_threads(),
        "bit_identical": identical,
        "runners": RUNNERS if beside else 0,
        "runners_identical": all(same_bits(*outputs) for outputs in beside) if beside else None,
    }


def _repeat(
    program: Program, rows: torch.Tensor, first: torch.Tensor, calls: int, deadline: float
) -> tuple[int, bool]:
    """How often the program was called, and whether it gave the bits of `first` each time."""
    made, identical = 0, True
    while made < calls and (made < FEWEST or time.monotonic() <= deadline):
        identical &= same_bits(first, program(rows).cpu())
        made += 1
    return made, identical


def run_side_by_side(
    runner: Path, artifact: Path, program: ProgramFile, x: torch.Tensor, threads: int
) -> list[torch.Tensor]:
    """Run x (N, ...) through two zoo-runs at the same time, which share the `threads`.

    Returns the outputs of each, (N, classes) float32. The status of the artifact does not matter:
    this is part of its proof.
    """
    rows, size = padded(x, program.batch), chunk(len(x), program.batch)
    each = max(1, threads // RUNNERS)

    def run(_: int) -> torch.Tensor:
        return run_inputs(runner, artifact, rows, each, batch=size, unproved=True)[: len(x)]

    with ThreadPoolExecutor(RUNNERS) as pool:
        return list(pool.map(run, range(RUNNERS)))


def nonfinite(program: Program, x: torch.Tensor, batch: tuple[int, int]) -> dict[str, str] | None:
    """What one NaN, or one infinite, pixel in a sample does to its output; None for bytes.

    `propagates`, `absorbs`, or `raises`.
    """
    if not x.is_floating_point():
        return None
    effects = {}
    for name, value in (("nan", float("nan")), ("inf", float("inf"))):
        poisoned = x.clone()
        poisoned[0, 0, x.shape[2] // 2, x.shape[3] // 2] = value
        try:
            with torch.no_grad():
                output = program(padded(poisoned, batch)[: chunk(len(x), batch)])[0]
        except BadArtifact:  # an eigenvalue of NaN, say
            effects[name] = "raises"
            continue
        effects[name] = "absorbs" if bool(torch.isfinite(output).all()) else "propagates"
    return effects
