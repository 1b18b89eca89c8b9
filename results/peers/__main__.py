"""`just bench-peers`: measure zoo-run's forms beside the other tools, and write the report.

Cells of the same commit that stand in the newest file of this CPU are not measured again, so a run
resumes where it stopped. `--minutes` ends a run between two cells.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compile import machine
from compile.runner import find_runner
from results.peers.cells import SIZE, Cell, all_cells
from results.peers.entries import FOLDER, Entry, Workshop
from results.peers.measuring import BLOCKS, FEWEST_ROUNDS, Plan, judge, limit_of, take_times
from results.peers.report import report
from results.peers.roofline import roofline_apart
from results.peers.table import RESULTS, ROOF, Row, Table

Measure = Callable[[Cell], Row]


def main() -> None:
    """Measure cells until the minutes are over, and write the report."""
    options = parsed()
    table = Table.newest(options.out)
    cells = chosen(all_cells(options.size), options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        if not options.report:
            until = time.monotonic() + 60 * options.minutes
            roofs(table, sorted({cell.threads for cell in cells}))
            run(table, cells, until, measured_by(options))
    finally:
        done = sum(cell.key in table.rows for cell in cells)
        print(f"{done} of {len(cells)} cells: {table.path}")
        made = table.path.with_suffix(".md")
        made.write_text(report([*table.rows.values()], table.conditions))
        print(f"report: {made}")


def run(table: Table, cells: list[Cell], until: float, measure: Measure) -> None:
    """Measure what is not done yet; no cell is begun after `until` (time.monotonic)."""
    for cell in cells:
        if cell.key in table.rows:
            continue
        if time.monotonic() >= until:
            return
        print(cell, file=sys.stderr, flush=True)
        table.append(measure(cell))


def roofs(table: Table, threads: list[int]) -> None:
    """Measure the rooflines that are not in the table."""
    for number in threads:
        if (ROOF, str(number)) not in table.rows:
            print(f"roofline, {number} threads", file=sys.stderr, flush=True)
            found = roofline_apart(number)
            table.append({"kind": ROOF, "threads": number, "date": machine.now(), **found})


def measured_by(options: argparse.Namespace) -> Measure:
    """What measures a cell on this machine."""
    runner = find_runner(options.runner)
    if runner is None:
        sys.exit("there is no zoo-run; `just runner` builds it")
    workshop = Workshop(runner, options.limit)

    def measure(cell: Cell) -> Row:
        entries = workshop.entries(cell)
        samples, oracle = workshop.truth(cell)
        FOLDER.mkdir(parents=True, exist_ok=True)
        np.save(FOLDER / "samples.npy", samples)
        plan = Plan(
            rounds=options.rounds,
            seconds=options.duration,
            seed=options.seed,
            blocks=BLOCKS if cell.streams == 1 else 1,
        )
        return row_of(cell, entries, samples, oracle, plan)

    return measure


def row_of(cell: Cell, entries: list[Entry], samples: Any, oracle: Any, plan: Plan) -> Row:
    """Measure the entries of a cell: what is written into the file."""
    load = os.getloadavg()[0]
    judge(entries, samples, oracle, cell.batch)
    take_times(entries, plan)
    columns = [
        {"name": entry.name, "kind": entry.kind, "same_engine": entry.same_engine}
        | {"reason": entry.reason, **entry.facts}
        for entry in entries
    ]
    return {
        **vars(cell),
        "limit": limit_of(entries, cell.precision),
        "entries": columns,
        **{"rounds": plan.rounds, "seconds": plan.seconds, "seed": plan.seed},
        **{"cores": machine.usable_cores(), "governor": governor(), "load": round(load, 2)},
        "date": machine.now(),
    }


def governor() -> str:
    """How the kernel chooses the clock rate; `not shown` on most virtual machines."""
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.exists() else "not shown"


def chosen(cells: list[Cell], options: argparse.Namespace) -> list[Cell]:
    """Those that the options name; all where they name none."""
    given = {
        "network": options.network,
        "precision": options.precision,
        "batch": [*map(int, options.batch)],
        "threads": [*map(int, options.threads)],
        "streams": [*map(int, options.streams)],
    }
    return [
        cell
        for cell in cells
        if all(not wanted or getattr(cell, name) in wanted for name, wanted in given.items())
    ]


def words(text: str) -> list[str]:
    """`a,b` as a list."""
    return [word for word in text.split(",") if word]


def at_least(fewest: int) -> Callable[[str], int]:
    """A number of rounds from which an interval can be computed."""

    def number(text: str) -> int:
        if int(text) < fewest:
            raise argparse.ArgumentTypeError(f"{text} are too few; the fewest are {fewest}")
        return int(text)

    return number


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="just bench-peers", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--duration", type=float, default=6, help="seconds of each entry in a cell")
    parser.add_argument("--rounds", type=at_least(FEWEST_ROUNDS), default=11)
    parser.add_argument("--seed", type=int, default=0, help="of the order of the turns")
    parser.add_argument("--limit", type=float, default=120, help="seconds of a tool's first answer")
    for name in ("network", "precision", "batch", "threads", "streams"):
        parser.add_argument(f"--{name}", type=words, default=[], help="these alone")
    parser.add_argument("--size", type=int, default=SIZE, help="height and width of the images")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the files lie")
    parser.add_argument("--runner", type=Path)
    parser.add_argument("--report", action="store_true", help="write the report alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
