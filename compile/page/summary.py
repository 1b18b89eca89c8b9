"""The first table of a group: what each artifact takes and gives, and which one to take."""

from __future__ import annotations

from compile.page.choosing import Group, advice, choice
from compile.page.evidence import Evidence, Measured
from compile.page.fields import positive
from compile.page.markup import (
    MISSING,
    Cell,
    Column,
    Content,
    Markup,
    breakable,
    join,
    sentence,
    table,
    tag,
)
from compile.page.sizes import aligned, file_bytes
from compile.report import short

_COLUMNS = (
    Column(name="artifact", words=True),
    Column(name="backend", words=True),
    Column(name="precision", words=True),
    Column(name="batch"),
    Column(name="median", unit="ms"),
    Column(name="95 % interval", unit="ms"),
    Column(name="p99", unit="ms"),
    Column(name="throughput", unit="1/s"),
    Column(name="x eager"),
    Column(name="file", unit="MB"),
    Column(name="peak", unit="MB"),
    Column(name="measured in", words=True),
    Column(name="verdict", words=True),
    Column(name="proof", words=True),
)


def summary(group: Group, evidence: Evidence) -> Markup:
    """What to take, then the table, the fastest first."""
    take, *more = advice(group, evidence)
    found = choice(group, evidence) is not None
    paragraphs = [sentence(take, "take" if found else "take none")]
    paragraphs += [sentence(" ".join(more), "more")] if more else []
    return join([*paragraphs, _table(group, evidence), _notes(group)])


def _table(group: Group, evidence: Evidence) -> Markup:
    rows = group.rows
    medians = aligned([row.median for row in rows], 4)
    decimals = len(medians[0].partition(".")[2])
    columns: list[list[Content | Cell]] = [
        [breakable(row.leaf) for row in rows],
        [row.backend for row in rows],
        [row.precision for row in rows],
        [MISSING if row.batch is None else str(row.batch) for row in rows],
        [tag("strong", median) for median in medians],
        [interval_text(row, decimals) for row in rows],
        [_with(positive(row.latency, "p99"), decimals) for row in rows],
        list(aligned([positive(row.report, "throughput_per_s") for row in rows], 3)),
        [_times(group, row) for row in rows],
        list(aligned([_mega(file_bytes(row, evidence)) for row in rows], 3)),
        [_with(_mega(positive(row.report, "peak_rss_bytes")), 0) for row in rows],
        [row.place for row in rows],
        [verdict_cell(row.valid) for row in rows],
        [proof_cell(evidence.is_proved(row.artifact)) for row in rows],
    ]
    return table(f"{group.title}, on {group.place}", _COLUMNS, zip(*columns, strict=True))


def proof_cell(proved: bool | None) -> Cell:
    """A cell that says in a word whether an artifact is proved."""
    if proved is None:
        return Cell(content="not here", tone="faint")
    return Cell(content="proved", tone="good") if proved else Cell(content="NOT proved", tone="bad")


def verdict_cell(valid: bool) -> Cell:
    """A cell that says in a word whether figures may be believed."""
    return Cell(content="VALID", tone="good") if valid else Cell(content="INVALID", tone="doubt")


def _times(group: Group, row: Measured) -> str:
    times = group.times_eager(row)
    return MISSING if times is None else f"{times:.2f}"


def interval_text(row: Measured, decimals: int) -> str:
    """The ends of the median's interval."""
    if row.interval is None:
        return MISSING
    low, high = row.interval
    return f"{low:.{decimals}f} to {high:.{decimals}f}"


def _with(value: float | None, decimals: int) -> str:
    return MISSING if value is None else f"{value:,.{decimals}f}"


def _mega(size: float | None) -> float | None:
    return None if size is None else size / 1e6


def _notes(group: Group) -> Markup:
    eager = group.eager
    said = "p99 needs 1,000 calls. A dash: it is not in the files. "
    if len({row.artifact for row in group.rows}) < len(group.rows):
        said += "What was measured several times has several rows. "
    if eager is None:
        said += "Without a VALID row of eager in fp32 there are no figures for x eager."
    else:
        said += (
            f"x eager: eager's median, {short(eager.median)} ms in {eager.place}, over that of the "
            "row; only of VALID rows."
        )
    return sentence(said, "note")
