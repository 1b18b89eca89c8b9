"""Measure the entries of a cell side by side, and say how far each is from the truth.

Each entry runs in processes of its own, one for each round. In a round they take turns, in an
order that a seed decides. The median of a round is one figure; two entries are compared round by
round, so that what slows the machine down for a while slows both.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from compile.measure.stats import median_interval, percentile
from compile.precision import precision
from results.peers.entries import FORM, Array, Entry, Taker
from results.peers.protocol import Broken, median

BLOCKS = 5
"""Turns of each process in a round of a latency cell."""
FEWEST_ROUNDS = 6
"""With fewer there is no interval."""
TOO_SLOW = 20.0
"""What takes so many times as long as the fastest form is measured in the first round alone. The
fastest call of each decides, as a busy machine may slow down any other."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a cell is measured."""

    rounds: int
    seconds: float
    """Of the turns of each entry, in all."""
    seed: int
    blocks: int


def judge(entries: Sequence[Entry], samples: Array, oracle: Array, batch: int) -> None:
    """Note the error of each entry against float64; a broken one gets a reason instead."""
    count = math.ceil(len(samples) / batch) * batch
    given = np.ascontiguousarray(samples[np.arange(count) % len(samples)])
    for entry in entries:
        if entry.answer is None:
            continue
        try:
            answer = entry.answer(given)[: len(samples)]
        except Broken as error:
            entry.reason, entry.start = str(error), None
            continue
        entry.facts["error"] = relative_error(answer, oracle)


def relative_error(answer: Array, oracle: Array) -> float | None:
    """The root mean square of the error over that of the truth; None if it is not a number."""
    if answer.shape != oracle.shape:
        return None
    error = np.square(answer.astype(np.float64) - oracle).mean() / np.square(oracle).mean()
    return math.sqrt(error) if math.isfinite(error) else None


def limit_of(entries: Sequence[Entry], cell_precision: str) -> float | None:
    """The largest error that counts as right: k times that of the worst proved form.

    k is that of the precision. None if no form was built, so that nothing can be judged.
    """
    errors = [entry.facts.get("error") for entry in entries if entry.kind == FORM]
    known = [error for error in errors if error is not None]
    return precision(cell_precision).k * max(known) if known else None


def take_times(entries: Sequence[Entry], plan: Plan) -> None:
    """Measure all entries that can be started, and note their times."""
    able = [entry for entry in entries if entry.start is not None]
    shuffle = random.Random(plan.seed)
    rounds: dict[str, list[int]] = {entry.name: [] for entry in able}
    for number in range(plan.rounds):
        print(f"  round {number + 1} of {plan.rounds}", file=sys.stderr, flush=True)
        _round(able, plan, shuffle, rounds)
        able = [entry for entry in able if entry.reason is None]
        forms = [entry.facts["fastest_ms"] for entry in able if entry.kind == FORM]
        able = [entry for entry in able if _is_near(entry, min(forms, default=None))]
    for entry in entries:
        if rounds.get(entry.name) and entry.reason is None:
            entry.facts.update(_times(rounds[entry.name]))


def _is_near(entry: Entry, fastest_ms: float | None) -> bool:
    """Whether an entry that has been measured is worth further rounds."""
    return fastest_ms is None or entry.facts["fastest_ms"] <= TOO_SLOW * fastest_ms


def _round(
    entries: Sequence[Entry], plan: Plan, shuffle: random.Random, rounds: dict[str, list[int]]
) -> None:
    """One round: start all, let them take turns, end all. A broken entry drops out."""
    turn_s = plan.seconds / (plan.rounds * plan.blocks)
    started: dict[str, Taker] = {}
    samples: dict[str, list[int]] = {entry.name: [] for entry in entries}
    try:
        for entry in shuffle.sample(entries, len(entries)):
            assert entry.start is not None
            with _noted(entry):
                started[entry.name] = entry.start()
        for block in range(plan.blocks):
            for entry in shuffle.sample(entries, len(entries)):
                taker = started.get(entry.name)
                long = taker is not None and taker.call_ns > turn_s * 1e9
                if taker is None or entry.reason is not None or (long and block > 0):
                    continue
                with _noted(entry):
                    samples[entry.name] += taker.turn(turn_s)
        for entry in entries:
            if entry.name in started and entry.reason is None:
                with _noted(entry):
                    _note_end(entry, started[entry.name].end())
                    rounds[entry.name].append(median(samples[entry.name]))
                    least = min(samples[entry.name]) / 1e6
                    entry.facts["fastest_ms"] = min(entry.facts.get("fastest_ms", least), least)
    finally:
        for taker in started.values():
            taker.close()


@contextmanager
def _noted(entry: Entry) -> Iterator[None]:
    """Write down why an entry broke, and continue with the others."""
    try:
        yield
    except Broken as error:
        entry.reason = str(error)


def _note_end(entry: Entry, said: dict[str, Any]) -> None:
    facts = entry.facts
    facts["version"] = said.get("version", facts.get("version"))
    facts["settings"] = said.get("settings") or {
        name: said.get("conditions", {}).get(name) for name in ("threads", "allocator")
    }
    facts["stable"] = facts.get("stable", True) and said["output_stable"]
    if said["flaw"]:
        facts["flaw"] = said["flaw"]


def _times(rounds_ns: list[int]) -> dict[str, Any]:
    ordered = sorted(rounds_ns)
    interval = median_interval(ordered)
    return {
        "median_ms": percentile(ordered, 50) / 1e6,
        "interval_ms": interval and [end / 1e6 for end in interval],
        "rounds_ms": [each / 1e6 for each in rounds_ns],
    }
