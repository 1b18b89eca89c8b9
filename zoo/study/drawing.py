"""The common look of all pictures: a few lines, and little else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLAIN, RESIDUAL = "#b5482f", "#1f5f99"
"""Networks without shortcuts have a warm colour, those with shortcuts a cool one."""


def panels(count: int, *, width: float = 4.6, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * count, height), layout="constrained")
    axes = [figure.add_subplot(1, count, number + 1) for number in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def line(axis: Axes, x: Any, y: Any, label: str, *, color: str, strong: bool = True) -> None:
    """Draw a line with a name in the legend. It is pale if not `strong`."""
    axis.plot(x, y, color=color, alpha=1.0 if strong else 0.45, linewidth=1.6, label=label)


def name(axis: Axes, title: str, x: str, y: str) -> None:
    """Write the title, the names of the axes and the legend."""
    axis.set_title(title, loc="left", fontsize=10)
    axis.locator_params(axis="x", integer=True)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.legend(frameon=False, fontsize=8)
