"""The common look of all pictures: a message, a few lines with their names, and little else."""

from __future__ import annotations

import io
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLAIN, RESIDUAL = "#b5482f", "#1f5f99"
"""Networks without shortcuts have a warm colour, those with shortcuts a cool one."""
WIDTH = 6.4
"""Of every figure, in inches. Text of TEXT_SIZE can then be read at half of a page's width."""
TEXT_SIZE = 12
"""In points."""
_LETTERS = 58
"""Bold ones of TEXT_SIZE that fit into a line of the message."""
_LINE_HEIGHT = 1.2
"""Of a label, as a multiple of TEXT_SIZE."""


def panels(count: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, one below the other, each `height` inches high."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height * count), layout="constrained")
    axes = [figure.add_subplot(count, 1, number + 1) for number in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.margins(x=0.02)
    return figure, axes


def line(
    axis: Axes, x: Any, y: Any, label: str, *, color: str, strong: bool = True, style: str = "-"
) -> None:
    """Draw a line with a name. It is pale if not `strong`."""
    axis.plot(x, y, style, color=color, alpha=1.0 if strong else 0.45, linewidth=1.8, label=label)


def finish(figure: Figure, message: str) -> Figure:
    """Write the message, a plain sentence, above a figure; give all its text one size; return it.

    Each named line gets its name beside its right end.
    """
    from matplotlib.text import Text

    figure.suptitle(fill(message, _LETTERS), x=0.01, ha="left", fontweight="bold")
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_fontsize(TEXT_SIZE)
    figure.draw_without_rendering()  # the layout settles how high each panel is
    for axis in figure.axes:
        _name_lines(axis)
    return figure


def _name_lines(axis: Axes) -> None:
    """Write each line's name beside its right end. Names that would touch are moved apart."""
    named, ends = [], []
    for one in axis.lines:
        y = np.asarray(one.get_ydata(), dtype=float)
        drawn = y[np.isfinite(y)]
        if len(drawn) and not str(one.get_label()).startswith("_"):
            named.append(one)
            ends.append(float(axis.transData.transform((0, drawn[-1]))[1]))
    bottom, height = axis.bbox.y0, axis.bbox.height
    gap = _LINE_HEIGHT * TEXT_SIZE * axis.figure.dpi / 72
    for one, place in zip(named, moved_apart(ends, gap), strict=True):
        axis.text(
            1.01,
            (place - bottom) / height,
            str(one.get_label()),
            transform=axis.transAxes,
            color=one.get_color(),
            fontsize=TEXT_SIZE,
            va="center",
        )


def moved_apart(places: Sequence[float], gap: float) -> list[float]:
    """The same places, moved as little as possible until neighbours are at least `gap` apart."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    groups: list[list[int]] = []
    middles: list[float] = []
    for index in order:
        group, middle = [index], places[index]
        while groups and middle - middles[-1] < gap * (len(group) + len(groups[-1])) / 2:
            before = groups.pop()
            middle = (middle * len(group) + middles.pop() * len(before)) / (
                len(group) + len(before)
            )
            group = before + group
        groups.append(group)
        middles.append(middle)
    moved = [0.0] * len(places)
    for group, middle in zip(groups, middles, strict=True):
        for number, index in enumerate(group):
            moved[index] = middle + gap * (number - (len(group) - 1) / 2)
    return moved


def as_svg(figure: Figure, name: str) -> bytes:
    """The picture as SVG. The same figure and `name` give the same bytes."""
    import matplotlib

    image = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(image, format="svg", metadata={"Date": None})
    return image.getvalue()
