"""What a program does that no bound judges, measured and recorded: does it repeat itself, to the
bit, and what does it make of NaN? docs/parity.md, "Determinism" and "Hostile samples".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from compile.artifact.programs import Program, chunk, padded
from compile.errors import BadArtifact
from compile.runner import run_inputs

CALLS = 1000
FEWEST = 10
"""Calls that are made however long they take, and calls of each load after the first."""
LOADS = 3
RUNNERS = 2


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


def determinism(
    loads: Sequence[Callable[[], Program]],
    x: torch.Tensor,
    batch: tuple[int, int],
    *,
    calls: int = CALLS,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Call the first load `calls` times, each other one ten times; compare all outputs' bits.

    Takes the smallest batch of a program of batches min..max and the first rows of x (N, ...).
    After `seconds` no further call is made, from the tenth on. Returns the manifest's
    `determinism` but for what concerns zoo-run.
    """
    rows = padded(x, batch)[: batch[0]]
    end = None if seconds is None else time.monotonic() + seconds
    made, identical = 0, True
    with torch.no_grad():
        for number, load in enumerate(loads):
            program = load()
            if number == 0:
                first = program(rows).cpu().clone()
            wanted = calls if number == 0 else FEWEST
            for done in range(1, wanted + 1):
                identical &= same_bits(first, program(rows).cpu())
                if end is not None and done >= FEWEST and time.monotonic() > end:
                    break
            made = done if number == 0 else made
    return {
        "calls": made,
        "loads": len(loads),
        "threads": torch.get_num_threads(),
        "bit_identical": identical,
    }


def run_at_once(
    runner: Path, artifact: Path, x: torch.Tensor, batch: int, threads: int
) -> list[torch.Tensor]:
    """Run x (N, ...) through two zoo-runs at the same time, in calls of `batch` rows.

    They run the artifact whatever its status is: this is part of its proof.
    """

    def run(_: int) -> torch.Tensor:
        return run_inputs(runner, artifact, x, threads, batch=batch, unproved=True)

    with ThreadPoolExecutor(RUNNERS) as pool:
        return list(pool.map(run, range(RUNNERS)))


def nonfinite(program: Program, x: torch.Tensor, batch: tuple[int, int]) -> dict[str, str] | None:
    """What one NaN, or one infinite, pixel in a sample does to its output; None for bytes.

    `propagates`, `absorbs`, or `raises`.
    """
    if not x.is_floating_point():
        return None
    found = {}
    for name, value in (("nan", float("nan")), ("inf", float("inf"))):
        poisoned = x.clone()
        poisoned[0, 0, x.shape[2] // 2, x.shape[3] // 2] = value
        try:
            with torch.no_grad():
                output = program(padded(poisoned, batch)[: chunk(len(x), batch)])[0]
        except BadArtifact:  # an eigenvalue of NaN, say
            found[name] = "raises"
            continue
        found[name] = "absorbs" if bool(torch.isfinite(output).all()) else "propagates"
    return found
