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
from zoo.study.drawing import PLAIN, RESIDUAL, line, name, panels
from zoo.study.lab import Claim, Findings, Lab, above, not_above, spread
from zoo.training.evaluate import evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = "training and test error as plain and residual networks get deeper"


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
    depths = (20, 32, 44, 56, 110) if lab.full else (20, 56)
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
    first, last = depths[0], 56
    plain, residual = (
        [
            deep.train_error - shallow.train_error
            for deep, shallow in zip(outcomes[kind, last], outcomes[kind, first], strict=True)
        ]
        for kind in ("plain", "resnet")
    )
    claims = [
        Claim(
            paper="the deeper plain net has the higher training error (figures 1 and 6, left)",
            measured=f"plain{last} less plain{first}, training error: {spread(plain, ' points')}",
            verdict=above(plain),
        ),
        Claim(
            paper="the deeper residual net's training error is not higher (figure 6, middle)",
            measured=f"resnet{last} less resnet{first}: {spread(residual, ' points')}; not higher "
            "is up to a tenth of what the plain nets lose",
            verdict=not_above(residual, margin=max(0.0, fmean(plain)) / 10),
        ),
    ]
    return Findings(
        title="Degradation: error as plain and residual networks get deeper",
        setting=f"{lab.describe()}; depths {', '.join(map(str, depths))}, option A shortcuts",
        claims=claims,
        columns=("network", "seed", "training error %", "test error %"),
        rows=rows,
        figure=lambda: _figure(outcomes, (first, last)),
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


def _figure(outcomes: dict[tuple[str, int], list[Outcome]], shown: tuple[int, int]) -> Figure:
    figure, axes = panels(3)
    titles = {"plain": "plain networks", "resnet": "residual networks"}
    for axis, (kind, color) in zip(axes, (("plain", PLAIN), ("resnet", RESIDUAL)), strict=False):
        for depth in shown:
            results = outcomes[kind, depth]
            mean = [fmean(errors) for errors in zip(*(o.curve for o in results), strict=True)]
            epochs = range(1, len(mean) + 1)
            line(axis, epochs, mean, f"{depth} layers", color=color, strong=depth == shown[1])
        name(axis, titles[kind], "epoch", "training error %")
        axis.set_ylim(0, 100)
    for kind, color in (("plain", PLAIN), ("resnet", RESIDUAL)):
        depths = sorted({depth for k, depth in outcomes if k == kind})
        for part, style in (("train_error", "o-"), ("test_error", "s--")):
            means = [fmean(getattr(o, part) for o in outcomes[kind, d]) for d in depths]
            label = f"{titles[kind].split()[0]}, {part.split('_')[0]}"
            axes[2].plot(depths, means, style, color=color, label=label, linewidth=1.4)
    name(axes[2], "after training", "layers", "error %")
    axes[2].set_ylim(bottom=0)
    return figure
