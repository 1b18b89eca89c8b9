"""Where the time goes before the first steady call, and what Python adds to each call."""

from __future__ import annotations

from compile.page.choosing import Group
from compile.page.drawing import WIDTH, axis, below, drawing, label, line
from compile.page.evidence import Evidence, Measured
from compile.page.fields import positive
from compile.page.markup import (
    MISSING,
    Column,
    Content,
    Markup,
    breakable,
    figure,
    join,
    sentence,
    table,
    tag,
)
from compile.page.sizes import aligned

_ROW = 34.0
_PHASES = (
    ("load_ms", "load", "phase load"),
    ("first_call_ms", "first call", "phase first"),
    ("second_call_ms", "second call", "phase second"),
)


def phases(group: Group, evidence: Evidence) -> Markup:
    """A picture and a table of a group, in the order of the summary."""
    rows = _both_places(group, evidence)
    shown: list[tuple[str, list[float | None]]] = [
        ("load", [positive(row.report, "load_ms") for row in rows]),
        ("first call", [positive(row.report, "first_call_ms") for row in rows]),
        ("second call", [positive(row.report, "second_call_ms") for row in rows]),
        ("steady call", [row.median for row in rows]),
        ("on the GPU", [positive(row.report, "gpu_latency_ms", "median") for row in rows]),
    ]
    kept = [(name, values) for name, values in shown if any(each is not None for each in values)]
    columns = [
        Column(name="artifact", words=True),
        Column(name="measured in", words=True),
        *(Column(name=name, unit="ms") for name, _ in kept),
        Column(name="load + first", unit="steady calls"),
    ]
    cells: list[list[Content]] = [
        [breakable(row.leaf) for row in rows],
        [row.place for row in rows],
        *(list(aligned(values)) for _, values in kept),
        [_as_calls(row) for row in rows],
    ]
    return join(
        [_picture(group), table(group.title, columns, zip(*cells, strict=True)), _note(kept)]
    )


def _both_places(group: Group, evidence: Evidence) -> list[Measured]:
    """The rows of a group, each followed by what Python measured of the same file."""
    rows = []
    for row in group.rows:
        rows.append(row)
        rows += [
            other
            for other in evidence.measured
            if other.place == "Python" and row.place != "Python"
            if (other.artifact, other.batch, other.machine)
            == (row.artifact, row.batch, row.machine)
        ]
    return [row for index, row in enumerate(rows) if row not in rows[:index]]


def _as_calls(row: Measured) -> str:
    load, first = positive(row.report, "load_ms"), positive(row.report, "first_call_ms")
    if load is None or first is None or row.median <= 0:
        return MISSING
    return f"{(load + first) / row.median:,.0f}"


def _picture(group: Group) -> Markup:
    """A line for each artifact from its steady call to the longest phase, with a mark for each."""
    found = [
        (row, [(positive(row.report, key), tone) for key, _, tone in _PHASES]) for row in group.rows
    ]
    times = [ms for _, marks in found for ms, _ in marks if ms]
    if not times:
        return sentence("These files do not say how long loading and the first call took.")
    everything = [*times, *(row.median for row in group.rows)]
    scale = axis(min(everything) / 1.3, max(everything) * 1.3, 6.0, WIDTH - 6.0)
    bottom = 18 + _ROW * len(found)
    parts = [*_key(), *below(scale, 22.0, bottom, "ms")]
    for index, (row, marks) in enumerate(found):
        y = 18 + _ROW * (index + 1) - 8
        known = [(ms, tone) for ms, tone in marks if ms]
        ends = [scale.at(ms) for ms in (row.median, *(ms for ms, _ in known))]
        parts.append(line(min(ends), y, max(ends), y, "range"))
        for ms, tone in (*known, (row.median, "phase steady")):
            parts.append(tag("circle", cx=scale.at(ms), cy=y, r=4.5, class_=tone))
        parts.append(label(row.leaf, 6.0, y - 9))
    described = "; ".join(_one(row) for row in group.rows)
    title = f"Load, first call and steady call of {group.title}"
    return figure(
        drawing(bottom + 32, title, described, *parts),
        "A line runs from the shortest to the longest of an artifact.",
    )


def _key() -> list[Markup]:
    parts, x = [], 6.0
    for name, tone in (*((name, tone) for _, name, tone in _PHASES), ("steady", "phase steady")):
        parts += [
            tag("circle", cx=x + 4, cy=8.0, r=4.5, class_=tone),
            label(name, x + 12, 11.5),
        ]
        x += 26 + 6.2 * len(name)
    return parts


def _one(row: Measured) -> str:
    known = [(name, positive(row.report, key)) for key, name, _ in _PHASES]
    said = [f"{name} {ms:.3g} ms" for name, ms in known if ms is not None]
    return f"{row.leaf}: {', '.join([*said, f'steady {row.median:.3g} ms'])}"


def _note(kept: list[tuple[str, list[float | None]]]) -> Markup:
    said = (
        "Load: until the program is ready for its first call. The last column says after how many "
        "steady calls load and first call have been as long as the calls themselves."
    )
    if not any(name == "on the GPU" for name, _ in kept):
        said += " How a call splits into the engine and the copies around it is not in these files."
    return sentence(said, "note")
