"""Latency, error and size in one picture, and the artifacts that no other one beats in both."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compile.measure.fastest import relative_error
from compile.page.choosing import QUANTISED, Group
from compile.page.drawing import (
    Axis,
    axis,
    below,
    beside,
    drawing,
    label,
    line,
    room_around,
    spread,
)
from compile.page.evidence import Evidence, Measured
from compile.page.markup import Markup, figure, join, sentence, tag
from compile.page.sizes import file_bytes

_TOP, _BOTTOM, _LEFT, _RIGHT = 22.0, 218.0, 38.0, 216.0
_LARGEST = 15.0
"""Radius of the largest file."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """An artifact in the picture."""

    row: Measured
    error: float
    """Relative to the size of the outputs."""
    size: float | None
    """Of its files, in bytes."""
    sound: bool
    """VALID, and not failed."""


def error_of_row(row: Measured, evidence: Evidence) -> float | None:
    """The error against the network in float64, as a share of the outputs' size.

    Of int8 and fp8 it is what quantisation adds as well; None if that is not recorded, or if
    there is no figure above 0.
    """
    proofs = evidence.proofs_for(row.artifact)
    levels = [proof.sqnr_db for proof in proofs if proof.sqnr_db is not None]
    noise = [proof.quantisation_noise for proof in proofs if proof.quantisation_noise is not None]
    return relative_error(levels, noise, quantised=row.precision in QUANTISED)


def points_of(group: Group, evidence: Evidence) -> list[Point]:
    """The artifacts of a group whose error is known, the fastest first."""
    return [
        Point(
            row=row,
            error=error,
            size=file_bytes(row, evidence),
            sound=row.valid and evidence.is_proved(row.artifact) is not False,
        )
        for row in group.rows
        if (error := error_of_row(row, evidence))
    ]


def front_of(points: list[Point]) -> list[Point]:
    """The sound points that no other sound one beats in time and error, from fast to exact."""
    found: list[Point] = []
    for point in sorted(points, key=lambda each: (each.row.median, each.error)):
        if point.sound and (not found or point.error < found[-1].error):
            found.append(point)
    return found


def front(group: Group, evidence: Evidence) -> Markup:
    """The picture of a group, or a sentence that says what it would need."""
    points = points_of(group, evidence)
    missing = [
        row.leaf for row in group.rows if row.artifact not in {p.row.artifact for p in points}
    ]
    if len(group.rows) == 1:
        return sentence("One artifact makes no picture of latency against error.")
    if len(points) < 2:
        return sentence(
            "There is no picture of latency against error: it needs two artifacts whose error is "
            "in these files. Add the report of `zoo check --json`, or the manifests."
        )
    x = axis(*room_around([point.row.median for point in points]), _LEFT, _RIGHT)
    y = axis(*room_around([point.error for point in points]), _BOTTOM, _TOP)
    chosen = front_of(points)
    path = " L".join(f"{x.at(p.row.median):.1f} {y.at(p.error):.1f}" for p in chosen)
    parts = [
        *below(x, _TOP, _BOTTOM, "median, ms"),
        *beside(y, _LEFT, _RIGHT, "error / size of the outputs"),
        tag("path", d=f"M{path}", class_="front") if len(chosen) > 1 else "",
        *_bubbles(points, x, y),
        *_names(points, chosen, x, y),
    ]
    title = f"Latency, error and size of {group.title}"
    return figure(drawing(_BOTTOM + 32, title, _described(points), *parts), _note(chosen, missing))


def _bubbles(points: list[Point], x: Axis, y: Axis) -> list[Markup]:
    largest = max((point.size or 0 for point in points), default=0)
    parts = []
    for point in sorted(points, key=lambda each: -(each.size or 0)):
        share = math.sqrt(point.size / largest) if point.size and largest else 0.2
        parts.append(
            tag(
                "circle",
                tag("title", _one(point)),
                cx=x.at(point.row.median),
                cy=y.at(point.error),
                r=max(2.5, _LARGEST * share),
                class_="bubble" if point.sound else "bubble doubtful",
            )
        )
    return parts


def _names(points: list[Point], chosen: list[Point], x: Axis, y: Axis) -> list[Markup]:
    """A name for each point in a column on the right, with a thin line to the point."""
    places = spread([y.at(point.error) for point in points], 13.0, _TOP, _BOTTOM)
    parts = []
    for point, place in zip(points, places, strict=True):
        here = x.at(point.row.median), y.at(point.error)
        tone = "label strong" if point in chosen else "label"
        name = f"{point.row.backend} {point.row.precision}"
        parts += [
            line(*here, _RIGHT + 18, place, "leader"),
            label(name, _RIGHT + 22, place + 3.5, tone=tone),
        ]
    return parts


def _one(point: Point) -> str:
    size = "unknown size" if point.size is None else f"{point.size / 1e6:.1f} MB"
    return f"{point.row.leaf}: {point.row.median:.3g} ms, error {point.error:.1e}, {size}"


def _described(points: list[Point]) -> str:
    return "; ".join(map(_one, points))


def _note(chosen: list[Point], missing: list[str]) -> Markup:
    said = [
        "Down and left is better; the area is the size of the file. The error is that of the "
        "ordinary samples against the network in float64, of int8 with what quantisation adds."
    ]
    if len(chosen) > 1:
        names = ", ".join(point.row.leaf for point in chosen)
        said.append(f" On the line, from fast to exact: {names}.")
    elif chosen:
        said.append(f" {chosen[0].row.leaf} beats all others in both.")
    else:
        said.append(" No line is drawn: none of them is VALID.")
    if missing:
        said.append(f" Not drawn, for want of an error: {', '.join(missing)}.")
    return join(said)
