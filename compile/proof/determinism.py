"""Does a program repeat itself, and what does NaN do to it? The second is not judged.

docs/parity.md explains both, under "Determinism" and "Hostile samples".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compile.artifact.programs import Program, ProgramFile, chunk, padded
from compile.errors import BadArtifact
from compile.proof import parity
from compile.proof.gates import Gate
from compile.proof.golden import Bounds, Golden
from compile.returned import Returned, as_tuple, each
from compile.runner import run_inputs

CALLS = 1000
"""Calls of the program that is loaded already."""

FEWEST = 10
"""Calls that are made however long they take, and calls of each load after the first."""

LOADS = 3
"""Times that the program is loaded, the first time included."""

RUNNERS = 2
"""zoo-runs that run at the same time."""


def same_bits(one: Returned, other: Returned) -> bool:
    """Whether two float32 answers hold the same bits; 0 and -0 differ, a NaN equals itself."""
    pairs = list(zip(as_tuple(one), as_tuple(other), strict=True))
    return all(
        mine.shape == theirs.shape
        and torch.equal(mine.contiguous().view(torch.int32), theirs.contiguous().view(torch.int32))
        for mine, theirs in pairs
    )


def compare(one: Returned, other: Returned) -> dict[str, Any]:
    """How two float32 answers of one shape differ: `identical` bits, largest `ulps`, `max_abs`.

    `ulps` counts the float32 numbers between two values; it and `max_abs` are None if one is
    not finite and the bits differ.
    """
    if same_bits(one, other):
        return {"identical": True, "ulps": 0, "max_abs": 0.0}
    pairs = list(zip(as_tuple(one), as_tuple(other), strict=True))
    if not all(bool(torch.isfinite(y).all()) for pair in pairs for y in pair):
        return {"identical": False, "ulps": None, "max_abs": None}
    ulps = max(int((_place(mine) - _place(theirs)).abs().max()) for mine, theirs in pairs)
    max_abs = max(float((mine.double() - theirs.double()).abs().max()) for mine, theirs in pairs)
    return {"identical": False, "ulps": ulps, "max_abs": max_abs}


def _place(x: torch.Tensor) -> torch.Tensor:
    """The place of each float32 number among all of them, in their order; that of 0 is 0."""
    bits = x.contiguous().view(torch.int32).long()
    return torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """What calling a program again and again showed."""

    entry: dict[str, Any]
    """The manifest's `determinism`."""
    gate: Gate
    """Whether what differed stayed within the bounds; its `worst` says what differed most."""


def measure_determinism(
    program: Program,
    load: Callable[[], Program],
    golden: Golden,
    bounds: Bounds,
    batch: tuple[int, int],
    *,
    beside: Sequence[Sequence[Returned]] = (),
    calls: int = CALLS,
    seconds: float | None = None,
) -> Repeats:
    """Does a program repeat itself, to the bit, and if not, within its bounds?

    `program` is called `calls` times. It is loaded again by `load` LOADS - 1 times, and each of
    these loads is called ten times.

    Args:
        golden: its first rows are the inputs, as many as the smallest batch takes.
        bounds: of the golden samples.
        batch: the smallest and the largest batch of the program.
        beside: for each program of the artifact, what `run_side_by_side` returned; empty if
            there is no zoo-run.
        seconds: no further call is made after this time, once there were ten.
    """
    index = golden.rows(batch[0])
    rows = golden.input[index].contiguous()
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    apart = _Apart(golden, bounds)
    with torch.no_grad():
        first = each(program(rows), lambda y: y.cpu().clone())

        def repeat(again: Program, load: int, calls: int) -> tuple[int, bool]:
            made, identical = 0, True
            while made < calls and (made < FEWEST or time.monotonic() <= deadline):
                made += 1
                output = each(again(rows), torch.Tensor.cpu)
                if not same_bits(first, output):
                    identical = False
                    apart.note(f"call {made} of load {load}", first, output, index)
            return made, identical

        made, identical = repeat(program, 1, calls)
        for number in range(2, LOADS + 1):
            _, same = repeat(load(), number, FEWEST)
            identical = identical and same
    for one, other in beside:
        if not same_bits(one, other):
            rows = torch.arange(len(as_tuple(one)[0]))
            apart.note("two zoo-runs at the same time", one, other, rows)
    entry = {
        "calls": made,
        "loads": LOADS,
        "threads": torch.get_num_threads(),
        "bit_identical": identical,
        "runners": RUNNERS if beside else 0,
        "runners_identical": all(same_bits(*outputs) for outputs in beside) if beside else None,
    }
    return Repeats(entry=entry, gate=apart.gate())


class _Apart:
    """The largest difference between two outputs for one input, as a share of the row's bound."""

    def __init__(self, golden: Golden, bounds: Bounds) -> None:
        self.golden = golden
        self.bound = bounds.bound
        self.worst = 0.0
        self.culprit: str | None = None

    def note(self, where: str, first: Returned, output: Returned, index: torch.Tensor) -> None:
        """Take in an answer whose bits are not those of `first`.

        It is held to `first` and to the oracle: small steps may lead away from both.
        """
        layout = self.golden.layout
        rows = layout.join(layout.check(output)).double()
        for reference in (layout.join(first).double(), self.golden.oracle[index]):
            error = layout.rms(rows - reference)
            ratio = float(parity.share(error, self.bound[index]).max())
            if not ratio <= self.worst:  # NaN is the worst of all
                self.worst, self.culprit = ratio, where

    def gate(self) -> Gate:
        """The gate's entry."""
        value = self.worst if math.isfinite(self.worst) else None
        entry = {"name": "determinism", "value": value, "bound": 1.0, "passed": self.worst <= 1.0}
        return {**entry, "worst": self.culprit}


def run_side_by_side(
    runner: Path, artifact: Path, program: ProgramFile, x: torch.Tensor, threads: int
) -> list[Returned]:
    """Run x (N, ...) through two zoo-runs at the same time, which share the `threads`.

    Returns what each answered, (N, ...) float32 per output. The status of the artifact does not
    matter: this is part of its proof.
    """
    rows, size = padded(x, program.batch), chunk(len(x), program.batch)
    share = max(1, threads // RUNNERS)

    def run(_: int) -> Returned:
        returned = run_inputs(
            runner, artifact, rows, share, outputs=program.outputs, batch=size, unproved=True
        )
        return each(returned, lambda y: y[: len(x)])

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
                returned = program(padded(poisoned, batch)[: chunk(len(x), batch)])
        except BadArtifact:  # an eigenvalue of NaN, say
            effects[name] = "raises"
            continue
        finite = all(bool(torch.isfinite(y[0]).all()) for y in as_tuple(returned))
        effects[name] = "absorbs" if finite else "propagates"
    return effects
