"""Responses: how much each layer of a trained network changes what flows through it.

He et al. 2015 (arXiv:1512.03385), figure 7: the standard deviation of each 3x3 layer's output after
batch norm, before the nonlinearity and the addition. Residual layers respond weakly: what they add
is small, and smaller in deeper networks.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import nn

from zoo.data import Data
from zoo.models.unit import ResidualUnit
from zoo.study.curves import Curve, mean_curve
from zoo.study.drawing import PLAIN, RESIDUAL, finish, line, panels
from zoo.study.lab import Claim, Findings, Lab, above, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = "standard deviation of the layers' responses (figure 7)"


def run(lab: Lab) -> Findings:
    """Train plain and residual networks of two depths and measure their layers' responses."""
    models = ("plain20", "plain56", "resnet20", "resnet56", *(("resnet110",) if lab.full else ()))
    deviations = {
        model: [responses(lab.train(model, seed).build(), lab.data) for seed in range(lab.seeds)]
        for model in models
    }
    means = {model: [fmean(values) for values in seeds] for model, seeds in deviations.items()}

    def less(one: str, other: str) -> list[float]:
        return [a - b for a, b in zip(means[one], means[other], strict=True)]

    claims = [
        Claim(
            paper=f"residual nets respond more weakly than plain ones, {depth} layers (figure 7)",
            measured=f"mean deviation, plain{depth} less resnet{depth}: "
            f"{spread(less(f'plain{depth}', f'resnet{depth}'))}",
            verdict=above(less(f"plain{depth}", f"resnet{depth}")),
        )
        for depth in (20, 56)
    ]
    claims.append(
        Claim(
            paper="the deeper residual net's layers respond more weakly (figure 7)",
            measured=f"resnet20 less resnet56: {spread(less('resnet20', 'resnet56'))}",
            verdict=above(less("resnet20", "resnet56")),
        )
    )
    rows = [
        (model, seed, layer + 1, round(value, 4))
        for model, seeds in deviations.items()
        for seed, values in enumerate(seeds)
        for layer, value in enumerate(values)
    ]
    return Findings(
        title="Responses: what the layers of trained networks answer",
        setting=f"{lab.describe()}; deviation over the test images, means over the layers",
        claims=claims,
        columns=("network", "seed", "layer", "standard deviation"),
        rows=rows,
        curves=[mean_curve("layers", model, seeds) for model, seeds in deviations.items()],
    )


@torch.inference_mode()
def responses(network: nn.Module, data: Data) -> list[float]:
    """Standard deviation after each unit's batch norms, in order of depth."""
    norms = [
        norm
        for unit in network.modules()
        if isinstance(unit, ResidualUnit)
        for key, norm in unit.named_children()
        if isinstance(norm, nn.BatchNorm2d) and key.startswith("bn")
    ]
    deviations: list[float] = []
    for norm in norms:
        norm.register_forward_hook(lambda _m, _i, out: deviations.append(float(out.std())))
    images = data.test.load(torch.arange(min(512, len(data.test))))
    network.eval()(images.to(next(network.parameters()).device))
    return deviations


def draw(curves: list[Curve]) -> Figure:
    """The deviation of each layer's response, from the first to the last layer."""
    found = {curve.name: curve.y for curve in curves}
    stronger = [a > b for a, b in zip(found["plain56"], found["resnet56"], strict=True)]
    figure, (axis,) = panels(1, height=3.6)
    for curve in curves:
        color = PLAIN if curve.name.startswith("plain") else RESIDUAL
        place = [(x - 1) / (len(curve.x) - 1) for x in curve.x]
        line(axis, place, curve.y, curve.name, color=color, strong="20" not in curve.name)
    axis.set_xticks([0, 1], ["first layer", "last layer"])
    axis.set_ylabel("standard deviation")
    axis.set_ylim(bottom=0)
    return finish(
        figure,
        f"{sum(stronger)} of {len(stronger)} layers respond more strongly in the plain network "
        "of 56 layers than in the residual one",
    )
