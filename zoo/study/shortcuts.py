"""Shortcuts: zero padding (A), projections where the shape changes (B), or everywhere (C).

He et al. 2015 (arXiv:1512.03385), table 3: all three are far better than the plain network and
close to each other. So projections are not essential against degradation.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from zoo.study.curves import Curve, mean_curve
from zoo.study.drawing import PLAIN, RESIDUAL, finish, panels
from zoo.study.lab import Claim, Findings, Lab, above, interval, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = "test error with option A, B and C shortcuts, and with none"

_NAMES = {
    "A": "A: zeros",
    "B": "B: projections\nif the shape\nchanges",
    "C": "C: projections\neverywhere",
    "plain": "none",
}


def run(lab: Lab) -> Findings:
    """Train one depth with each option and without shortcuts, and compare test errors."""
    depth = 110 if lab.full else 56
    errors = {
        option: [_test_error(lab, f"resnet{depth}", seed, option) for seed in range(lab.seeds)]
        for option in ("A", "B", "C")
    }
    errors["plain"] = [_test_error(lab, f"plain{depth}", seed, None) for seed in range(lab.seeds)]

    def less(one: str, other: str) -> list[float]:
        return [a - b for a, b in zip(errors[one], errors[other], strict=True)]

    worst = max("ABC", key=lambda option: fmean(errors[option]))
    gain = less("plain", worst)
    claims = [
        Claim(
            paper="all three options are considerably better than the plain network (table 3)",
            measured=f"plain less the worst option, {worst}: {spread(gain, ' points')}",
            verdict=above(gain),
        ),
        Claim(
            paper="B is slightly better than A (table 3)",
            measured=f"A less B: {spread(less('A', 'B'), ' points')}",
            verdict=above(less("A", "B")),
        ),
        Claim(
            paper="C is marginally better than B (table 3)",
            measured=f"B less C: {spread(less('B', 'C'), ' points')}",
            verdict=above(less("B", "C")),
        ),
    ]
    rows = [
        (option, seed, round(error, 3))
        for option, each in errors.items()
        for seed, error in enumerate(each)
    ]
    return Findings(
        title="Shortcuts: zero padding, projections, or none",
        setting=f"{lab.describe()}; {depth} layers",
        claims=claims,
        columns=("shortcut", "seed", "test error %"),
        rows=rows,
        curves=[
            mean_curve(f"{depth} layers", option, [each], first=0)
            for option, each in errors.items()
        ],
    )


def _test_error(lab: Lab, model: str, seed: int, option: str | None) -> float:
    trained = lab.train(model, seed, **({"shortcut": option} if option else {}))
    assert trained.config.results is not None
    return 100 * (1 - trained.config.results.test_accuracy)


def draw(curves: list[Curve]) -> Figure:
    """The test error of each seed, with the mean and its interval, by shortcut."""
    figure, (axis,) = panels(1, height=3.6)
    for place, curve in enumerate(curves):
        color = PLAIN if curve.name == "plain" else RESIDUAL
        low, high = interval(curve.y)
        axis.plot([place] * 2, [max(0, low), min(100, high)], color=color, linewidth=1.4)
        axis.plot([place] * len(curve.y), curve.y, "o", color=color, alpha=0.4, markersize=5)
        axis.plot(place, fmean(curve.y), "_", color=color, markersize=18, markeredgewidth=2)
    axis.set_xticks(range(len(curves)), [_NAMES[curve.name] for curve in curves])
    axis.set_xlim(-0.5, len(curves) - 0.5)
    axis.set_ylabel(f"test error %, {curves[0].panel}")
    axis.set_ylim(bottom=0)
    mean = {curve.name: f"{fmean(curve.y):.0f}\N{NO-BREAK SPACE}%" for curve in curves}
    return finish(
        figure,
        f"The test error is {mean['A']} with shortcut A, {mean['B']} with B, {mean['C']} with C, "
        f"and {mean['plain']} without shortcuts",
    )
