"""The report: a table of cells with times and ratios, the errors, and what was not measured."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.measure.fastest import Ratio, ratio_of
from results.peers.cells import Cell
from results.peers.entries import FORM, PEER
from results.peers.measuring import FEWEST_ROUNDS
from results.peers.table import ROOF, Row

WIDTH = 120
EXPLAINED = Path(__file__).with_name("explained.json")
"""A cell as the table prints it -> why a tool is faster, in a sentence that a person wrote."""
OURS = "inductor"
"""The form that the other tools are compared with first."""
NO_REASON = "**not explained yet**"

Column = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """How a cell ended: above 1.00 the form of ours is faster than the best of the other tools."""

    best: str | None
    """The fastest of the other tools that computes the right thing."""
    ours: Ratio | None
    """Its time over that of OURS."""
    other: str | None
    """The fastest form that is not run by the same library."""
    others: Ratio | None
    """The best tool's time over that of this form."""

    @property
    def below(self) -> bool:
        """Whether the best tool is faster than OURS or than the best form."""
        return any(each is not None and each.value < 1 for each in (self.ours, self.others))


def report(rows: list[Row], conditions: dict[str, Any]) -> str:
    """The whole file, in Markdown. `conditions` are those that all rows have."""
    cells = [row for row in rows if row.get("kind") != ROOF]
    roofs = [row for row in rows if row.get("kind") == ROOF]
    lines = ["# zoo-run beside the other tools of the field", ""]
    lines += [*_conditions(cells, conditions), ""]
    if cells:
        lines += [*_table(cells), "", *_legend(), "", *_errors(cells), "", *_missing(cells), ""]
        lines += [*_settings(cells), ""]
    lines += _roofs(roofs)
    return "\n".join(lines).rstrip() + "\n"


def name_of(row: Row) -> str:
    """The cell as the table prints it, and as explained.json names it."""
    return str(Cell(**{name: row[name] for name in Cell.__dataclass_fields__}))


def is_wrong(column: Column, limit: float | None) -> bool:
    """Whether its answer is not within the limit, or is not a number: its time does not count."""
    if not column.get("stable", True) or column.get("flaw"):
        return True
    if "error" not in column:
        return False
    return column["error"] is None or (limit is not None and column["error"] > limit)


def ratios_of(row: Row) -> Ratios:
    """The best of the other tools against OURS, and against the best form."""
    right = [
        column
        for column in row["entries"]
        if len(column.get("rounds_ms", ())) >= FEWEST_ROUNDS and not is_wrong(column, row["limit"])
    ]
    right.sort(key=lambda column: column["median_ms"])
    best = next((column for column in right if column["kind"] == PEER), None)
    forms = [column for column in right if column["kind"] == FORM]
    ours = next((column for column in forms if column["name"] == OURS), None)
    other = next((form for form in forms if best and form["name"] != best["same_engine"]), None)
    return Ratios(
        best=best and best["name"],
        ours=_ratio(best, ours),
        other=other and other["name"],
        others=_ratio(best, other),
    )


def _ratio(best: Column | None, form: Column | None) -> Ratio | None:
    if best is None or form is None:
        return None
    pairs = [*zip(best["rounds_ms"], form["rounds_ms"], strict=False)]
    return ratio_of([one for one, _ in pairs], [other for _, other in pairs])


def _conditions(cells: list[Row], conditions: dict[str, Any]) -> list[str]:
    """One sentence: CPU, versions, and how long and how quiet it was."""
    text = f"`just bench-peers`: {conditions['cpu']}, torch {conditions['torch']}, commit "
    text += f"{conditions['commit']}"
    if cells:
        dates = sorted(row["date"][:10] for row in cells)
        loads = sorted(row["load"] for row in cells)
        last = cells[-1]
        text += f", {dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "")
        text += f"; {last['cores']} cores, governor {last['governor']}, load before a cell "
        text += f"{loads[0]} to {loads[-1]}; {last['seconds']:g} s of each entry in "
        text += f"{last['rounds']} rounds, seed {last['seed']}. Seeded weights."
    return textwrap.wrap(text, WIDTH)


def _table(cells: list[Row]) -> Iterator[str]:
    names = {(column["kind"], column["name"]): None for row in cells for column in row["entries"]}
    heads = [f"zoo-run {name}" if kind == FORM else name for kind, name in names]
    heads += [f"best tool / {OURS}", "best tool / best other form"]
    yield f"| cell | {' | '.join(heads)} | reason |"
    yield "|---|" + "---:|" * len(heads) + "---|"
    explained = json.loads(EXPLAINED.read_text())
    for row in cells:
        columns = {(column["kind"], column["name"]): column for column in row["entries"]}
        times = [time_text(columns.get(name), row["limit"]) for name in names]
        ratios = ratios_of(row)
        ours = _ratio_text(ratios.ours, ratios.best)
        other = _ratio_text(ratios.others, ratios.other)
        reason = explained.get(name_of(row), NO_REASON) if ratios.below else ""
        yield f"| {name_of(row)} | {' | '.join(times)} | {ours} | {other} | {reason} |"


def time_text(column: Column | None, limit: float | None) -> str:
    """The time of a call in ms with its interval; a wrong answer is struck out."""
    if column is None or "median_ms" not in column:
        return "-"
    text = f"{column['median_ms']:.3g}"
    if column["interval_ms"]:
        low, high = column["interval_ms"]
        text += f" ({low:.3g} to {high:.3g})"
    else:
        text += " (too slow for an interval)"
    return f"~~{text}~~ **wrong**" if is_wrong(column, limit) else text


def _ratio_text(ratio: Ratio | None, name: str | None) -> str:
    if ratio is None:
        return "-"
    low, high = ratio.interval
    return f"{ratio.value:.2f} ({low:.2f} to {high:.2f}), {name}"


def _legend() -> list[str]:
    text = (
        "Milliseconds of a call, with streams the time over the number of calls; in brackets the "
        "95 % interval. A ratio above 1.00 means that zoo-run is faster. The best tool is the "
        "fastest of the others whose answer is right; the best other form is zoo-run's fastest "
        "that does not use the best tool's own library. Struck out: further from float64 than is "
        "allowed, so its time does not count."
    )
    return textwrap.wrap(text, WIDTH)


def _errors(cells: list[Row]) -> Iterator[str]:
    yield "## Errors against float64"
    yield ""
    yield from textwrap.wrap(
        "Root mean square of the error over that of the outputs, on the ordinary golden samples. "
        "The limit is that of the worst proved form times k of the precision.",
        WIDTH,
    )
    yield ""
    names = dict.fromkeys(
        (column["kind"], column["name"]) for row in cells for column in row["entries"]
    )
    heads = [f"zoo-run {name}" if kind == FORM else name for kind, name in names]
    yield f"| cell | limit | {' | '.join(heads)} |"
    yield "|---|" + "---:|" * (len(heads) + 1)
    for row in cells:
        columns = {(column["kind"], column["name"]): column for column in row["entries"]}
        cells_text = [error_text(columns.get(name), row["limit"]) for name in names]
        limit = "-" if row["limit"] is None else f"{row['limit']:.1e}"
        yield f"| {name_of(row)} | {limit} | {' | '.join(cells_text)} |"


def error_text(column: Column | None, limit: float | None) -> str:
    """The error of a column; a wrong one is bold, with why."""
    if column is None or "error" not in column:
        return "-"
    text = "not a number" if column["error"] is None else f"{column['error']:.1e}"
    if not column.get("stable", True):
        text += ", changes from call to call"
    if column.get("flaw"):
        text += f", {column['flaw']}"
    return f"**{text}**" if is_wrong(column, limit) else text


def _missing(cells: list[Row]) -> Iterator[str]:
    """Why a column has no time; equal reasons are told once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in cells:
        for column in row["entries"]:
            if column["reason"]:
                reasons.setdefault((column["name"], column["reason"]), []).append(name_of(row))
    yield "## Not measured"
    yield ""
    for (name, reason), where in reasons.items():
        places = "; ".join(where) if len(where) < len(cells) else "all cells"
        yield from textwrap.wrap(f"- {name}: {reason} ({places})", WIDTH, subsequent_indent="  ")
    if not reasons:
        yield "Every column was measured in every cell."


def _settings(cells: list[Row]) -> Iterator[str]:
    """What each of the other tools was told, and its version."""
    yield "## Settings"
    yield ""
    said: dict[str, dict[str, None]] = {}
    for row in cells:
        for column in row["entries"]:
            if column["kind"] == PEER and column.get("version"):
                words = ", ".join(f"{name} {value}" for name, value in column["settings"].items())
                said.setdefault(f"{column['name']} {column['version']}", {})[words] = None
    for name, settings in said.items():
        text = f"- {name}: {'; '.join(settings)}"
        yield from textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _roofs(roofs: list[Row]) -> list[str]:
    if not roofs:
        return []
    lines = ["## What this machine could do at most", ""]
    lines += ["| threads | fp32, GFLOP/s | bf16 | int8 | copy, GB/s |", "|---:|" + "---:|" * 4]
    for row in sorted(roofs, key=lambda each: each["threads"]):
        rates = ["-" if rate is None else f"{rate:.0f}" for rate in row["gflops"].values()]
        lines.append(f"| {row['threads']} | {' | '.join(rates)} | {row['copy_gb_s']:.1f} |")
    extent = roofs[0]["extent"]
    text = (
        f"Products of two matrices of {extent} by {extent} by torch, two operations for each "
        "product that is added; a copy counts the bytes read and written. The fastest of nine."
    )
    return [*lines, "", *textwrap.wrap(text, WIDTH)]
