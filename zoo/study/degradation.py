"""Degradation: a deeper plain network is worse on its own training images. A residual one is not.

He et al. 2015 (arXiv:1512.03385), figures 1, 4 and 6. This is not overfitting, which would show on
test images only. The deeper network can represent what the shallower one does, but training does
not find it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from zoo.runs.draft import METRICS, read_rows
from zoo.study.curves import Curve, mean_curve
from zoo.study.drawing import PLAIN, RESIDUAL, finish, line, panels
from zoo.study.lab import Claim, Findings, Lab, above, not_above, spread
from zoo.training.evaluate import evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = "training and test error as plain and residual networks get deeper"

SHALLOW, DEEP = 20, 56
"""The depths that are compared."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One network after training, in per cent."""

    train_error: float
    """On the training images as they are, in evaluation mode."""
    test_error: float
    curve: list[float]
    """Error on the augmented training images, one figure for each epoch."""


def run(lab: Lab) -> Findings:
    """Train plain and residual networks of two depths (five with `full`) and compare errors."""
    depths = (20, 32, 44, 56, 110) if lab.full else (SHALLOW, DEEP)
    outcomes = {
        (kind, depth): [_outcome(lab, f"{kind}{depth}", seed) for seed in range(lab.seeds)]
        for depth in depths
        for kind in ("plain", "resnet")
    }
    rows = [
        (f"{kind}{depth}", seed, round(o.train_error, 3), round(o.test_error, 3))
        for (kind, depth), results in outcomes.items()
        for seed, o in enumerate(results)
    ]
    plain, residual = (
        [
            deep.train_error - shallow.train_error
            for deep, shallow in zip(outcomes[kind, DEEP], outcomes[kind, SHALLOW], strict=True)
        ]
        for kind in ("plain", "resnet")
    )
    claims = [
        Claim(
            paper="the deeper plain net has the higher training error (figures 1 and 6, left)",
            measured=f"plain{DEEP} less plain{SHALLOW}, training error: {spread(plain, ' points')}",
            verdict=above(plain),
        ),
        Claim(
            paper="the deeper residual net's training error is not higher (figure 6, middle)",
            measured=f"resnet{DEEP} less resnet{SHALLOW}: {spread(residual, ' points')}; not "
            "higher is up to a tenth of what the plain nets lose",
            verdict=not_above(residual, margin=max(0.0, fmean(plain)) / 10),
        ),
    ]
    return Findings(
        title="Degradation: error as plain and residual networks get deeper",
        setting=f"{lab.describe()}; depths {', '.join(map(str, depths))}, option A shortcuts",
        claims=claims,
        columns=("network", "seed", "training error %", "test error %"),
        rows=rows,
        curves=[
            mean_curve("training", f"{kind}{depth}", [o.curve for o in results])
            for (kind, depth), results in outcomes.items()
        ],
    )


def _outcome(lab: Lab, model: str, seed: int) -> Outcome:
    trained = lab.train(model, seed)
    results = trained.config.results
    assert results is not None
    on_train = evaluate(trained.build(), lab.data.train)
    return Outcome(
        train_error=100 * (1 - on_train.accuracy),
        test_error=100 * (1 - results.test_accuracy),
        curve=[100 * (1 - float(row["accuracy"])) for row in read_rows(trained.folder / METRICS)],
    )


def draw(curves: list[Curve]) -> Figure:
    """The error in each epoch, and how much of it comes with depth."""
    figure, (axis,) = panels(1, height=3.6)
    last = {}
    for curve in curves:
        color = PLAIN if curve.name.startswith("plain") else RESIDUAL
        strong = not curve.name.endswith(str(SHALLOW))
        line(axis, curve.x, curve.y, curve.name, color=color, strong=strong)
        last[curve.name] = curve.y[-1]
    axis.locator_params(axis="x", integer=True)
    axis.set_xlabel("epoch")
    axis.set_ylabel("error while training, %")
    axis.set_ylim(0, 100)
    plain, residual = (
        last[f"{kind}{DEEP}"] - last[f"{kind}{SHALLOW}"] for kind in ("plain", "resnet")
    )
    return finish(
        figure,
        f"From {SHALLOW} to {DEEP} layers the training error of plain networks "
        f"{_moves(plain)} points, and that of residual ones {_moves(residual)}",
    )


def _moves(points: float) -> str:
    return f"{'rises' if points >= 0 else 'falls'} by {abs(points):.0f}"
