"""The figure of `zoo bisect --full`: how the error grows through the network."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import Unavailable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compile.bisect.search import Bisection

_ARTIFACT, _PYTORCH, _ALLOWED = "#b5482f", "#1f5f99", "#888888"
_MOST_NAMES = 16
"""More of them below the axis would touch each other."""


def check_drawing() -> None:
    """Raise Unavailable if there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise Unavailable("--full draws with matplotlib; run `pip install matplotlib`")


def draw(report: Bisection, path: Path) -> None:
    """Write the figure as a PNG. Raises Unavailable if the place cannot be written."""
    from compile.files import write_atomic

    image = io.BytesIO()
    _figure(report).savefig(image, format="png", dpi=150)
    write_atomic(path, image.getvalue())


def _figure(report: Bisection) -> Figure:
    from zoo.study.drawing import finish, line, panels

    (figure, (axis,)) = panels(1, height=4.0)
    places = range(len(report.points))
    for what, label, color, style in (
        ("error", f"{report.backend} {report.precision}", _ARTIFACT, "-"),
        ("allowed", "allowed", _ALLOWED, "--"),
        ("eager", f"PyTorch in {report.precision}", _PYTORCH, "-"),
    ):
        # Zero, as behind a layer that only drops values, has no place on a logarithmic axis.
        values = [getattr(point, what) or float("nan") for point in report.points]
        line(axis, places, values, label, color=color, style=style)
    axis.set_yscale("log")
    axis.yaxis.set_minor_formatter("")
    names = [point.name for point in report.points]
    if report.culprit in names:
        axis.axvline(names.index(report.culprit), color=_ARTIFACT, alpha=0.25, linewidth=10)
    step = -(-len(names) // _MOST_NAMES)
    axis.set_xticks(list(places)[::step], names[::step], rotation=60, ha="right")
    axis.set_xlabel(f"{report.artifact}, batch {report.batch}")
    axis.set_ylabel("error against float64, relative")
    return finish(figure, _message(report))


def _message(report: Bisection) -> str:
    """What the figure shows, in one line."""
    what = f"{report.backend} {report.precision}"
    if report.passed:
        return f"{what} is nowhere more wrong than allowed"
    where = report.inside or report.culprit
    return f"{what} goes wrong in {where}" if where else f"{what} is wrong, in no single block"
