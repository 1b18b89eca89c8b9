"""The curves of a study's picture, as a file from which the picture can be drawn again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from zoo.errors import BadArtifact

_COLUMNS = ("panel", "curve", "x", "y")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One curve of a picture."""

    panel: str
    """The part of the picture that it belongs to."""
    name: str
    """Its name, unique in its panel."""
    x: tuple[float, ...]
    y: tuple[float, ...]
    """As many as `x`, at least one."""


def mean_curve(panel: str, name: str, seeds: Sequence[Sequence[float]], *, first: int = 1) -> Curve:
    """The mean of several seeds' curves. `x` counts from `first`."""
    y = tuple(fmean(values) for values in zip(*seeds, strict=True))
    return Curve(panel=panel, name=name, x=tuple(map(float, range(first, first + len(y)))), y=y)


def to_csv(curves: Sequence[Curve]) -> str:
    """One row for each point, with six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for curve in curves:
        for x, y in zip(curve.x, curve.y, strict=True):
            writer.writerow((curve.panel, curve.name, f"{x:.6g}", f"{y:.6g}"))
    return text.getvalue()


def from_csv(text: str, source: str) -> list[Curve]:
    """The curves that `to_csv` wrote. BadArtifact, with the name `source`, for any other text."""
    rows = list(csv.reader(io.StringIO(text)))
    if not rows or tuple(rows[0]) != _COLUMNS:
        raise BadArtifact(f"{source}: its first line is not '{','.join(_COLUMNS)}'")
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number, row in enumerate(rows[1:], 2):
        try:
            panel, name, x, y = row
            point = float(x), float(y)
        except ValueError:
            raise BadArtifact(f"{source}: line {number} is not a point of a curve") from None
        points.setdefault((panel, name), []).append(point)
    return [
        Curve(panel=panel, name=name, x=tuple(x for x, _ in each), y=tuple(y for _, y in each))
        for (panel, name), each in points.items()
    ]
