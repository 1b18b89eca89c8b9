"""The figure of `zoo bisect --full`: how the error grows through the network."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import Unavailable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compile.bisect.search import Report

_ARTIFACT, _PYTORCH, _ALLOWED = "#b5482f", "#1f5f99", "#888888"


def check_drawing() -> None:
    """Raise Unavailable where there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise Unavailable("--full draws with matplotlib; run `pip install 'resnet-zoo[study]'`")


def draw(report: Report, path: Path) -> None:
    """Write the figure as a PNG. Raises Unavailable where the place cannot be written."""
    from compile.files import write_atomic

    image = io.BytesIO()
    _figure(report).savefig(image, format="png", dpi=100)
    write_atomic(path, image.getvalue())


def _figure(report: Report) -> Figure:
    from zoo.study.drawing import line, panels

    (figure, (axis,)) = panels(1, width=7.2, height=4.0)
    places = range(len(report.points))
    for what, label, color in (
        ("error", f"{report.backend} {report.precision}", _ARTIFACT),
        ("eager", f"PyTorch in {report.precision}", _PYTORCH),
        ("allowed", "allowed", "#888888"),
    ):
        # Zero, as behind a layer that only drops values, has no place on a logarithmic axis.
        values = [getattr(point, what) or float("nan") for point in report.points]
        line(axis, places, values, label, color=color)
    axis.lines[-1].set_linestyle("--")
    axis.set_yscale("log")
    names = [point.name for point in report.points]
    if report.culprit in names:
        at = names.index(report.culprit)
        axis.axvline(at, color=_ARTIFACT, alpha=0.25, linewidth=8)
        axis.annotate(
            report.inside or report.culprit,
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center" if 0 < at < len(names) - 1 else "left" if at == 0 else "right",
            va="top",
            fontsize=8,
        )
    step = -(-len(names) // 40)
    axis.set_xticks(list(places)[::step], names[::step], rotation=60, ha="right", fontsize=7)
    axis.set_title(f"{report.artifact}, batch {report.batch}", loc="left", fontsize=10)
    axis.set_ylabel("error against float64, relative")
    axis.legend(frameon=False, fontsize=8)
    return figure
