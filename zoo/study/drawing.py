"""The common look of all pictures: a few lines, and little else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLAIN, RESIDUAL = "#b5482f", "#1f5f99"
"""Networks without shortcuts have a warm colour, those with shortcuts a cool one."""
TEXT_SIZE = 12
"""In points."""


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


def one_text_size(figure: Figure) -> None:
    """Give all text of a figure one size, which is readable where a page shows it at half width."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_fontsize(TEXT_SIZE)


def line(
    axis: Axes, x: Any, y: Any, label: str, *, color: str, strong: bool = True, style: str = "-"
) -> None:
    """Draw a line with a name in the legend. It is pale if not `strong`."""
    axis.plot(x, y, style, color=color, alpha=1.0 if strong else 0.45, linewidth=1.6, label=label)


def name(axis: Axes, title: str, x: str, y: str) -> None:
    """Write the title, the names of the axes and the legend."""
    axis.set_title(title, loc="left")
    axis.locator_params(axis="x", integer=True)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.legend(frameon=False)
