"""Scenarios of zoo-run: how many queries or images per second, and how late the slowest are."""

from __future__ import annotations

from compile.page.evidence import Evidence, Measured
from compile.page.fields import number, objects, positive, text, truth
from compile.page.markup import (
    MISSING,
    Cell,
    Column,
    Content,
    Markup,
    breakable,
    items,
    join,
    sentence,
    table,
    tag,
)
from compile.page.sizes import aligned
from compile.page.summary import verdict_cell

_COLUMNS = (
    Column(name="artifact", words=True),
    Column(name="scenario", words=True),
    Column(name="streams"),
    Column(name="threads", unit="of each"),
    Column(name="batch"),
    Column(name="rate", unit="queries/s"),
    Column(name="throughput", unit="images/s"),
    Column(name="p50", unit="ms"),
    Column(name="p99", unit="ms"),
    Column(name="bound", unit="of the p99, ms"),
    Column(name="verdict", words=True),
)


def scenario_of(row: Measured) -> str:
    """The scenario of a measurement, as zoo-run names it."""
    return text(row.report, "scenario") or "unknown"


def scenarios(evidence: Evidence) -> Markup:
    """A table for each task, then what was tried to find a rate."""
    parts: list[Content] = [
        sentence(
            "In offline and server a query is one call, in multi-stream a call in each stream at "
            "once. In server, queries arrive at the rate, and times count from the arrival.",
            "note",
        )
    ]
    for task in dict.fromkeys(row.task for row in evidence.scenarios):
        rows = [row for row in evidence.scenarios if row.task == task]
        parts.append(_table(task, rows))
    tried = (_tried(row) for row in evidence.scenarios)
    return join([*parts, items(said for said in tried if said)])


def _table(task: str, rows: list[Measured]) -> Markup:
    columns: list[list[Content | Cell]] = [
        [breakable(row.leaf) for row in rows],
        [scenario_of(row) for row in rows],
        [_whole(row, "streams") for row in rows],
        [_whole(row, "threads_per_stream") for row in rows],
        [_whole(row, "batch") for row in rows],
        list(aligned([positive(row.report, "rate_per_s") for row in rows])),
        list(aligned([positive(row.report, "throughput_per_s") for row in rows])),
        [tag("strong", median) for median in aligned([row.median for row in rows])],
        _late(rows),
        list(aligned([positive(row.report, "p99_bound_ms") for row in rows])),
        [verdict_cell(row.valid) for row in rows],
    ]
    return table(f"{task}: scenarios", _COLUMNS, zip(*columns, strict=True))


def _whole(row: Measured, key: str) -> str:
    value = positive(row.report, key)
    return MISSING if value is None else f"{value:.0f}"


def _late(rows: list[Measured]) -> list[Content | Cell]:
    """The p99 of each row, in colour and with a word if there is a bound for it."""
    latest = [positive(row.latency, "p99") for row in rows]
    cells: list[Content | Cell] = []
    for row, p99, shown in zip(rows, latest, aligned(latest), strict=True):
        bound = positive(row.report, "p99_bound_ms")
        if p99 is None or bound is None:
            cells.append(shown)
        else:
            word, tone = ("in time", "good") if p99 < bound else ("too late", "bad")
            cells.append(Cell(content=join([shown, tag("small", f" {word}")]), tone=tone))
    return cells


def _tried(row: Measured) -> str:
    """The rates of a search, with what became of them."""
    steps = [
        f"{rate:,.4g} {'passed' if truth(step, 'passed') else 'failed'}"
        for step in objects(row.report, "search")
        if (rate := number(step, "rate_per_s")) is not None
    ]
    return f"{row.leaf}, rates tried, in queries/s: {', '.join(steps)}" if steps else ""
