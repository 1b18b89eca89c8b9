"""Candidate rules for the bound, side by side: how often each refuses what is right, and takes what
is wrong.

`python -m results.corpus.yardsticks FILE...` reads the rows of corpus runs, and computes what each
rule would have said of every program and every planted fault, from the errors that stand in them.
The rule was chosen on one half of the networks, which the hash of their names decides. The rates
are those of the other half.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.precision import precision
from compile.spec import ROWS
from results.corpus.jobs import WAYS
from results.corpus.judging import truth
from results.corpus.report import share
from results.corpus.row import ratio

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule: whose error is the yardstick, and how many times as wrong a program may be."""

    name: str
    ways: tuple[str, ...]
    """A way counts if its name begins with one of these."""
    times: float = 1.0
    """The precision's k is multiplied by this."""

    def bounds(self, row: Row) -> list[float]:
        """The bound of each sample."""
        numbers = precision(row["precision"])
        known = [
            [math.inf if each is None else each for each in error]  # PyTorch overflows
            for name, error in row["ways"].items()
            if name.startswith(self.ways)
        ]
        worst = [max(each) for each in zip(*known, strict=True)]
        pairs = list(zip(worst, row["size"], strict=True))
        relative = [error / max(size, 1e-300) for error, size in pairs[:ROWS]]
        common = max(numbers.least, *relative)
        yardstick = [
            common * size if place < ROWS else max(common * size, error)
            for place, (error, size) in enumerate(pairs)
        ]
        return [
            self.times * numbers.k * own + numbers.eps / 2 * size
            for own, size in zip(yardstick, row["size"], strict=True)
        ]


EAGER = ("NCHW", "NHWC")
RULES = (
    Rule(name="PyTorch's own four ways (before)", ways=EAGER),
    Rule(name="the same, k twice as large", ways=EAGER, times=2),
    Rule(name="the same, k eight times as large", ways=EAGER, times=8),
    Rule(name="with sums in one order", ways=(*EAGER, "in order")),
    Rule(name="with sums in three orders", ways=(*EAGER, "in ")),
    Rule(name="with random roundings", ways=(*EAGER, "jitter")),
    Rule(name="with both (taken)", ways=(*EAGER, "in ", "jitter")),
)


def chosen_on(network: str) -> bool:
    """Whether the rule was chosen on this network: its rates come from the others."""
    return hashlib.sha256(network.encode()).digest()[0] % 2 == 0


def report(rows: list[Row]) -> Iterator[str]:
    """A table for each half: right programs that each rule refuses, and faults that it takes."""
    measured = {_key(row): row for row in rows if row["backend"] == WAYS and "ways" in row}
    sound = [row for row in rows if truth(row) == "sound"]
    for half, title in ((True, "chosen on"), (False, "measured on")):
        known = {key: row for key, row in measured.items() if chosen_on(row["network"]) == half}
        programs = [row for row in sound if _key(row) in known and "rmse" in row]
        yield f"{title}: {len({row['network'] for row in known.values()})} networks"
        yield ""
        yield "| rule | right programs refused | planted faults taken | ordinary bound |"
        yield "|---|---|---|---:|"
        for rule in RULES:
            bounds = {key: rule.bounds(row) for key, row in known.items()}
            before = {key: RULES[0].bounds(row) for key, row in known.items()}
            refused = sum(not within(row["rmse"], bounds[_key(row)]) for row in programs)
            faults = [
                within(fault["rmse"], bounds[key])
                for key, row in known.items()
                for fault in row["faults"].values()
            ]
            wider = sorted(bounds[key][0] / before[key][0] for key in known if before[key][0])
            middle = f"{wider[len(wider) // 2]:.2f} times" if wider else "-"
            cells = share(refused, len(programs)), share(sum(faults), len(faults)), middle
            yield f"| {rule.name} | {' | '.join(cells)} |"
        yield ""


def within(rmse: Iterable[float | None], bounds: Iterable[float]) -> bool:
    """Whether every sample keeps its bound."""
    return all(ratio(error, bound) <= 1 for error, bound in zip(rmse, bounds, strict=True))


def _key(row: Row) -> tuple[str, ...]:
    return row["part"], row["network"], str(row["seed"]), row["precision"]


def main() -> None:
    """Print the tables of the files that are named."""
    lines = [line for path in sys.argv[1:] for line in Path(path).read_text().splitlines()]
    print("\n".join(report([json.loads(line) for line in lines])))


if __name__ == "__main__":
    main()
