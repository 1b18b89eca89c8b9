"""Inline SVG: an axis, its ticks, text, and names that are moved apart. Sizes are in user units.

A drawing is 340 units wide: as wide as a phone, where a unit is a pixel. On wider screens it grows,
and its text with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from compile.page.markup import Content, Markup, tag

WIDTH = 340.0
_LOG_FROM = 5.0
"""An axis whose ends are further apart than this factor is logarithmic."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Maps values to places between `start` and `end`, which may be the smaller."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        """The place of a value; of one outside, the nearer end."""
        value = min(max(value, self.low), self.high)
        low, high = self._scaled(self.low), self._scaled(self.high)
        return self.start + (self.end - self.start) * (self._scaled(value) - low) / (high - low)

    def value(self, share: float) -> float:
        """The value at a share of the way from the low end to the high one."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        scaled = low + share * (high - low)
        return math.exp(scaled) if self.log else scaled

    def ticks(self, most: int = 5) -> list[float]:
        """Round values on the axis, `most` or fewer; at least two."""
        for steps in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)) if self.log else ():
            found = self._log_ticks(steps)
            if 2 <= len(found) <= most:
                return found
        return self._linear_ticks(most)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    def _log_ticks(self, steps: Sequence[int]) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found = (step * 10.0**decade for decade in decades for step in steps)
        return [each for each in found if self.low <= each <= self.high]

    def _linear_ticks(self, most: int) -> list[float]:
        if self.log:  # too many decades for a tick at each
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**n for n in range(first, last + 1, math.ceil((last - first + 1) / most))]
        rough = (self.high - self.low) / most
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= rough * 0.999)
        begin = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(begin, math.floor(self.high / step + 1e-9) + 1)]


def axis(low: float, high: float, start: float, end: float) -> Axis:
    """An axis for values from low to high. `low` is above 0 for one that spans a large factor."""
    if not high > low:
        low, high = (low * 0.9, high * 1.1) if low > 0 else (low - 1, high + 1)
    log = low > 0 and high / low > _LOG_FROM
    return Axis(low=low, high=high, start=start, end=end, log=log)


def drawing(height: float, title: str, description: str, *parts: Content) -> Markup:
    """An SVG of WIDTH x height with a title and a description for those who do not see it."""
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        *parts,
        viewBox=f"0 0 {WIDTH:.0f} {height:.0f}",
        role="img",
        aria_label=f"{title}. {description}",
    )


def label(
    content: Content, x: float, y: float, *, anchor: str = "start", tone: str = "label"
) -> Markup:
    """A text with its baseline at y."""
    return tag("text", content, x=x, y=y, text_anchor=anchor, class_=tone)


def line(x1: float, y1: float, x2: float, y2: float, tone: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=tone)


def tick(value: float) -> str:
    """The figure at a tick: `0.5`, `20`, `1e-6`."""
    shown = f"{value:.0e}" if 0 < value < 1e-3 else f"{value:,g}"
    mantissa, _, exponent = shown.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def below(scale: Axis, top: float, bottom: float, name: str, *, most: int = 5) -> list[Markup]:
    """A horizontal axis under a drawing: grid lines from top to bottom, figures, its name."""
    parts = []
    for value in scale.ticks(most):
        x = scale.at(value)
        parts += [
            line(x, top, x, bottom, "grid"),
            label(tick(value), x, bottom + 13, anchor="middle"),
        ]
    kind = ", logarithmic" if scale.log else ""
    return [*parts, label(name + kind, scale.end, bottom + 27, anchor="end", tone="name")]


def beside(scale: Axis, left: float, right: float, name: str) -> list[Markup]:
    """A vertical axis left of a drawing: grid lines from left to right, figures, its name."""
    parts = [label(name, 2.0, 10.0, tone="name")]
    for value in scale.ticks():
        y = scale.at(value)
        parts += [
            line(left, y, right, y, "grid"),
            label(tick(value), left - 4, y + 3.5, anchor="end"),
        ]
    return parts


def room_around(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis, with room for marks beyond the smallest and the largest value, which are
    above 0.
    """
    room = max(1.5, (max(values) / min(values)) ** 0.12)
    return min(values) / room, max(values) * room


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The same places, moved until neighbours are `gap` apart, and within low..high if that fits.

    They keep their order.
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = [0.0] * len(places)
    last = low - gap
    for index in order:
        last = moved[index] = max(places[index], last + gap)
    last = high + gap
    for index in reversed(order):
        last = moved[index] = min(moved[index], last - gap)
    return moved
