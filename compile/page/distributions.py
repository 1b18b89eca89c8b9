"""How the timed calls are spread: a histogram for each artifact, on one axis."""

from __future__ import annotations

from compile.page.choosing import Group
from compile.page.drawing import WIDTH, Axis, axis, below, drawing, label, line
from compile.page.evidence import Measured
from compile.page.fields import positive
from compile.page.markup import Markup, figure, tag

_ROW, _HIGH = 46.0, 24.0
"""Of one artifact: the height of its row, and of its tallest bar."""
_BINS = 84
_FEW = 40
"""Below so many calls each is a dot."""
_TAIL = 0.995
"""The axis ends at this share of the calls of the widest artifact."""


def distributions(group: Group) -> Markup:
    """The histograms of a group, the fastest first."""
    scale = axis(*_ends(group), 4.0, WIDTH - 6.0)
    bottom = 6 + _ROW * len(group.rows)
    parts = below(scale, 4.0, bottom, "ms for one call")
    beyond = 0
    for index, row in enumerate(group.rows):
        base = 6 + _ROW * (index + 1) - 4
        parts += _row(row, scale, base)
        beyond += sum(each / 1e6 > scale.high for each in row.samples_ns)
    note = "Each hill is the calls of one artifact; all hills are of one height. "
    note += (
        "The long mark is the median, the short ones are p90 and p99, where there are enough calls."
    )
    if beyond:
        note += f" {beyond:,} call{'s' * (beyond != 1)} took longer than the axis shows."
    if not all(row.samples_ns for row in group.rows):
        note += " A bar from the shortest call to the longest stands where a file has no samples."
    described = "; ".join(f"{row.leaf}: median {row.median:.3g} ms" for row in group.rows)
    title = f"Latency of {group.title}"
    return figure(drawing(bottom + 32, title, described, *parts), note)


def _ends(group: Group) -> tuple[float, float]:
    """The shortest call, and where the axis may cut off the tails."""
    lows, highs = [], []
    for row in group.rows:
        if row.samples_ns:
            ordered = sorted(row.samples_ns)
            lows.append(ordered[0] / 1e6)
            highs.append(ordered[min(len(ordered) - 1, int(_TAIL * len(ordered)))] / 1e6)
        else:
            lows.append(positive(row.latency, "min") or row.median)
            highs.append(positive(row.latency, "p99") or row.median)
        highs.append(row.median)
    return min(lows), max(highs) * 1.02


def _row(row: Measured, scale: Axis, base: float) -> list[Markup]:
    tone = "hill" if row.valid else "hill doubtful"
    name = row.leaf if row.valid else f"{row.leaf}, INVALID"
    parts = [line(scale.start, base, scale.end, base, "grid")]
    if not row.samples_ns:
        ends = (positive(row.latency, key) or row.median for key in ("min", "max"))
        parts.append(line(scale.at(next(ends)), base - 3, scale.at(next(ends)), base - 3, "range"))
    elif len(row.samples_ns) < _FEW:
        parts += [
            tag("circle", cx=scale.at(each / 1e6), cy=base - 5, r=2.2, class_=tone)
            for each in row.samples_ns
            if each / 1e6 <= scale.high
        ]
    else:
        parts.append(tag("path", d=_hill(row.samples_ns, scale, base), class_=tone))
    for key in ("p90", "p99"):
        value = positive(row.latency, key)
        if value is not None and value <= scale.high:
            parts.append(line(scale.at(value), base - 7, scale.at(value), base + 2, "mark"))
    middle = scale.at(row.median)
    parts.append(line(middle, base - _HIGH, middle, base + 2, "mark strong"))
    right = middle < scale.start + 0.55 * (scale.end - scale.start)
    x, anchor = (scale.end, "end") if right else (scale.start, "start")
    return [*parts, label(name, x, base - _HIGH - 4, anchor=anchor)]


def _hill(samples_ns: tuple[float, ...], scale: Axis, base: float) -> str:
    """The outline of a histogram with _BINS bars of equal width on the axis."""
    counts = [0] * _BINS
    span = scale.end - scale.start
    for each in samples_ns:
        if each / 1e6 <= scale.high:
            share = (scale.at(each / 1e6) - scale.start) / span
            counts[min(_BINS - 1, int(share * _BINS))] += 1
    tallest = max(counts) or 1
    outline = [f"M{scale.start:.1f} {base:.1f}"]
    for index, count in enumerate(counts):
        outline.append(f"V{base - _HIGH * count / tallest:.1f}")
        outline.append(f"H{scale.start + span * (index + 1) / _BINS:.1f}")
    return " ".join([*outline, f"V{base:.1f}Z"])
