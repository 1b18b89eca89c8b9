"""Gradients: what reaches each layer, with and without shortcuts, with and without batch norm.

He et al. 2015 (arXiv:1512.03385), section 4.1: plain networks with batch norm have gradients with
healthy norms, so vanishing gradients do *not* cause their difficulty. Without batch norm gradients
do vanish. Then only the shortcut carries a signal to the end and a gradient back.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from zoo.data import Data
from zoo.models import build
from zoo.study.curves import Curve, mean_curve
from zoo.study.drawing import PLAIN, RESIDUAL, finish, line, panels
from zoo.study.lab import FAILED, HELD, Claim, Findings, Lab, above, spread
from zoo.training.recipe import RECIPES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = "gradient norm of each layer, before and during training"

DEPTH, BATCH = 56, 128

Norms = dict[tuple[str, bool], list[tuple[list[float], list[float]]]]
"""Kind of network and whether it has batch norms -> for each seed, the gradient norm of each layer
at the start and after the steps."""

_PANELS = {True: "with batch norm", False: "without batch norm"}

HEALTHY = 10.0
"""Largest healthy ratio of the gradients of the first and the last stage, either way."""


def run(lab: Lab) -> Findings:
    """Measure the gradient of each convolution at the start and after some steps."""
    steps = 1000 if lab.full else 3 * lab.epochs
    norms = {
        (kind, norm): [
            gradients(f"{kind}{DEPTH}", seed, lab.data, norm, steps) for seed in range(lab.seeds)
        ]
        for kind in ("plain", "resnet")
        for norm in (True, False)
    }
    rows = [
        (f"{kind}{DEPTH}", "yes" if norm else "no", seed, when, layer + 1, f"{value:.3e}")
        for (kind, norm), seeds in norms.items()
        for seed, result in enumerate(seeds)
        for when, values in zip(("start", f"step {steps}"), result, strict=True)
        for layer, value in enumerate(values)
    ]
    return Findings(
        title="Gradients: what reaches each layer",
        setting=f"{lab.describe()}; {DEPTH} layers, batch {BATCH}; without batch norm the weights "
        "start at Xavier's scale, as before rectifiers had their own",
        claims=_claims(norms, steps),
        columns=("network", "batch norm", "seed", "when", "layer", "gradient norm"),
        rows=rows,
        curves=[
            mean_curve(_PANELS[norm], f"{kind}, {when}", [result[number] for result in seeds])
            for (kind, norm), seeds in norms.items()
            for number, when in enumerate(("at the start", f"after {steps} steps"))
        ],
    )


def _claims(norms: Norms, steps: int) -> list[Claim]:
    start = [_share(result[0]) for result in norms["plain", True]]
    later = [_share(result[1]) for result in norms["plain", True]]
    decades = [
        math.log10(_first_stage(residual[0]) / _first_stage(plain[0]))
        for residual, plain in zip(norms["resnet", False], norms["plain", False], strict=True)
    ]
    return [
        Claim(
            paper="with batch norm a plain net's gradients do not vanish (section 4.1)",
            measured=f"plain{DEPTH}, first stage over last: {spread(start)} at the start, "
            f"{spread(later)} after {steps} steps",
            verdict=HELD if min(start + later) >= 1 / HEALTHY else FAILED,
        ),
        Claim(
            paper="with batch norm a plain net's gradients have healthy norms (section 4.1)",
            measured=f"the same at the start, {spread(start)}; healthy is at most {HEALTHY:g}: "
            "more is the explosion that batch norm brings to deep plain nets (arXiv:1902.08129)",
            verdict=HELD if max(start) <= HEALTHY else FAILED,
        ),
        Claim(
            paper="without batch norm they vanish, unless shortcuts carry them "
            "(the problem that normalisation solved, section 1)",
            measured=f"decades from plain{DEPTH} to resnet{DEPTH}, first stage, at the start: "
            f"{spread(decades)}",
            verdict=above(decades),
        ),
    ]


def gradients(
    model: str, seed: int, data: Data, norm: bool, steps: int
) -> tuple[list[float], list[float]]:
    """Norm of each 3x3 convolution's gradient on one batch, at the start and after `steps`."""
    channels = data.shape[0]
    network = build(model, seed=seed, in_channels=channels, num_classes=len(data.classes))
    if not norm:
        _take_norms_out(network, seed)
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
    recipe = RECIPES["paper"]
    # Without batch norm, training at the paper's rate diverges at once.
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.lr if norm else 1e-3, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    results = []
    for step in range(steps + 1):
        chosen = torch.randint(len(data.train), (BATCH,), generator=generator)
        logits = network(data.train.load(chosen))
        loss = functional.cross_entropy(logits, data.train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if step in (0, steps):
            results.append([float(w.grad.norm()) for w in weights if w.grad is not None])
        optimizer.step()
    return results[0], results[1]


def _take_norms_out(network: nn.Module, seed: int) -> None:
    """Remove each batch norm, and draw the convolutions at Xavier's scale."""
    for module in network.modules():
        for key, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, key, nn.Identity())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)


def _first_stage(values: list[float]) -> float:
    """Mean gradient norm of the first stage: the first third of the layers, without the first."""
    return fmean(values[1 : len(values) // 3])


def _share(values: list[float]) -> float:
    """The mean gradient norm of the first stage over that of the last stage."""
    return _first_stage(values) / fmean(values[-(len(values) // 3) :])


def draw(curves: list[Curve]) -> Figure:
    """The gradient norm of each layer, with and without batch norm."""
    figure, axes = panels(2, height=3.2)
    first = {}
    for axis, panel in zip(axes, _PANELS.values(), strict=True):
        axis.set_title(panel, loc="left")
        axis.set_yscale("log")
        axis.set_ylabel("gradient norm")
        for curve in curves:
            if curve.panel == panel:
                kind, when = curve.name.split(", ")
                color, later = PLAIN if kind == "plain" else RESIDUAL, when != "at the start"
                line(axis, curve.x, curve.y, curve.name, color=color, strong=later)
                first[panel, kind, later] = _first_stage(list(curve.y))
    axes[-1].set_xlabel("layer, from first to last")
    without = _PANELS[False]
    decades = math.log10(first[without, "resnet", False] / first[without, "plain", False])
    return finish(
        figure,
        f"Without batch norm, the gradient at the start is {decades:.0f} orders of magnitude "
        "weaker in the first layers of a plain network than in those of a residual one",
    )
