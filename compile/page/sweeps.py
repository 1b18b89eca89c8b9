"""Sweeps: the latency of one artifact against its throughput, at each number of threads."""

from __future__ import annotations

from collections.abc import Sequence

from compile.measure.settings import Setting
from compile.page.drawing import axis, below, beside, drawing, label, line, room_around, spread
from compile.page.evidence import Evidence, Measured, Sweep
from compile.page.fields import positive
from compile.page.markup import Cell, Column, Content, Markup, figure, join, sentence, table, tag
from compile.page.sizes import aligned
from compile.page.summary import interval_text, verdict_cell
from compile.report import short

_TOP, _LEFT, _RIGHT = 22.0, 38.0, 200.0
_NAME = 13.0
"""The height of a name beside the picture."""
_LOWEST = 196.0
"""The height of a picture with few names."""
_TONES = 5
"""Lines beyond the fifth have the colours of the first ones again, and are broken."""

_COLUMNS = (
    Column(name="setting", words=True),
    Column(name="p50", unit="ms"),
    Column(name="95 %", unit="ms"),
    Column(name="throughput", unit="images/s"),
    Column(name="verdict", words=True),
)

Row = tuple[Setting, Measured]


def sweeps(evidence: Evidence) -> Markup:
    """For each sweep the settings to take, a picture and a table."""
    parts: list[Content] = []
    for each in evidence.sweeps:
        rows = sorted(each.rows, key=lambda row: -_throughput(row[1]))
        parts += [tag("h3", each.artifact), *_best(rows), _picture(each), _table(each, rows)]
    return join(parts)


def _throughput(measured: Measured) -> float:
    """Images per second; `collect` lets in no setting without it."""
    return positive(measured.report, "throughput_per_s") or 0.0


def _best(rows: Sequence[Row]) -> list[Markup]:
    """The settings with the highest throughput and the lowest median among the VALID ones."""
    valid = [row for row in rows if row[1].valid]
    if not valid:
        return [sentence("No setting is VALID, so none is the best: measure again.", "note")]
    fast, quick = valid[0], min(valid, key=lambda row: row[1].median)
    return [
        sentence(f"Highest throughput: {fast[0]}, {short(_throughput(fast[1]))} images/s."),
        sentence(f"Lowest latency: {quick[0]}, {short(quick[1].median)} ms."),
    ]


def _picture(sweep: Sweep) -> Markup:
    """A line for each number of threads and streams, a dot for each batch on it."""
    if len(sweep.rows) == 1:
        return sentence("One setting makes no picture of latency against throughput.", "note")
    lines: dict[tuple[int, int], list[Row]] = {}
    for row in sorted(sweep.rows, key=lambda row: row[0].batch):
        lines.setdefault((row[0].streams, row[0].threads), []).append(row)
    shared = any(streams > 1 for streams, _ in lines)
    bottom = _TOP + max(_LOWEST, _NAME * len(lines))
    x = axis(*room_around([_throughput(m) for _, m in sweep.rows]), _LEFT, _RIGHT)
    y = axis(*room_around([m.median for _, m in sweep.rows]), bottom, _TOP)
    parts = [
        *below(x, _TOP, bottom, "images/s", most=4),
        *beside(y, _LEFT, _RIGHT, "p50 of a call, ms"),
    ]
    ends = [y.at(rows[-1][1].median) for _, rows in sorted(lines.items())]
    names = spread(ends, _NAME, _TOP, bottom)
    for number, ((streams, threads), rows) in enumerate(sorted(lines.items())):
        places = [(x.at(_throughput(m)), y.at(m.median)) for _, m in rows]
        path = " L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        tone = f"s{number % _TONES}" + (" again" if number >= _TONES else "")
        parts.append(tag("path", d=f"M{path}", class_=f"series {tone}") if rows[1:] else Markup(""))
        for (setting, measured), (a, b) in zip(rows, places, strict=True):
            kind = f"dot {tone}" if measured.valid else f"dot {tone} doubtful"
            hint = tag("title", _one(setting, measured))
            parts.append(tag("circle", hint, cx=a, cy=b, r=3.0, class_=kind))
        name = _threads(threads) + (f", {streams} stream{'s' * (streams != 1)}" if shared else "")
        parts += [
            line(*places[-1], _RIGHT + 12, names[number], "leader"),
            label(name, _RIGHT + 16, names[number] + 3.5),
        ]
    title = f"Latency against throughput of {sweep.artifact}"
    described = "; ".join(_one(*row) for row in sweep.rows)
    return figure(drawing(bottom + 32, title, described, *parts), _note(sweep))


def _threads(number: int) -> str:
    return f"{number} thread{'s' * (number != 1)}"


def _one(setting: Setting, measured: Measured) -> str:
    return f"{setting}: {short(measured.median)} ms, {short(_throughput(measured))} images/s"


def _note(sweep: Sweep) -> Markup:
    batches = sorted({setting.batch for setting, _ in sweep.rows})
    said = "Down and right is better. Threads are counted in all; the streams divide them."
    if len(batches) > 1:
        steps = ", ".join(map(str, batches))
        said += f" The dots of a line are the batches {steps}, in this order."
    if not all(measured.valid for _, measured in sweep.rows):
        said += " An empty dot is INVALID."
    return join([said])


def _table(sweep: Sweep, rows: Sequence[Row]) -> Markup:
    medians = aligned([measured.median for _, measured in rows], 4)
    decimals = len(medians[0].partition(".")[2])
    columns: list[list[Content | Cell]] = [
        [str(setting) for setting, _ in rows],
        [tag("strong", median) for median in medians],
        [interval_text(measured, decimals) for _, measured in rows],
        list(aligned([_throughput(measured) for _, measured in rows])),
        [verdict_cell(measured.valid) for _, measured in rows],
    ]
    parts = [
        table(f"{sweep.artifact}, scenario {sweep.scenario}", _COLUMNS, zip(*columns, strict=True))
    ]
    parts += [sentence(f"Skipped: {'; '.join(sweep.skipped)}.", "note")] if sweep.skipped else []
    return join(parts)
