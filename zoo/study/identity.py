"""Identity: a residual unit learns f(x) = x sooner than a plain one.

He et al. 2015 (arXiv:1512.03385), section 3.1: a network would not get worse if the layers added to
it were identities. It does get worse, which suggests that several nonlinear layers hardly learn the
identity. A residual unit only has to learn zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from zoo.models.plain import PlainBlock
from zoo.models.resnet import BasicBlock
from zoo.study.curves import Curve, mean_curve
from zoo.study.drawing import PLAIN, RESIDUAL, finish, line, panels
from zoo.study.lab import Claim, Findings, Lab, above, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = "steps until one unit has learned f(x) = x"

CHANNELS, SIZE, BATCH = 16, 8, 64
RATE = 0.01
"""Adam's learning rate."""
GOAL = 0.01
"""f counts as learned at this mean squared error over the variance of x."""


def run(lab: Lab) -> Findings:
    """Train single units, plain and residual, towards the identity, and count the steps."""
    steps = 2000 if lab.full else 25 * lab.epochs
    seeds = range(max(5, lab.seeds))
    curves = {
        "plain": [learn(PlainBlock, seed, steps) for seed in seeds],
        "residual": [learn(BasicBlock, seed, steps) for seed in seeds],
    }
    needed = {kind: [_steps_to_goal(curve) for curve in each] for kind, each in curves.items()}
    more = [float(a - b) for a, b in zip(needed["plain"], needed["residual"], strict=True)]
    reached = {kind: sum(n < steps for n in counts) for kind, counts in needed.items()}
    claim = Claim(
        paper="a residual unit is driven to identity more easily than a plain one (section 3.1)",
        measured=f"steps to an error of {GOAL:g}, plain less residual: {spread(more)}; "
        f"reached by {reached['plain']} plain and {reached['residual']} residual units "
        f"of {len(seeds)} within {steps} steps",
        verdict=above(more),
    )
    rows = [
        (kind, seed, needed[kind][seed], f"{curves[kind][seed][-1]:.3g}")
        for kind in curves
        for seed in seeds
    ]
    return Findings(
        title="Identity: how soon one unit learns f(x) = x",
        setting=f"one unit of {CHANNELS} channels on {SIZE}x{SIZE} rectified noise, "
        f"Adam at {RATE:g}, {len(seeds)} seeds, the same noise for both",
        claims=[claim],
        columns=("unit", "seed", f"steps to {GOAL:g}", "error at the end"),
        rows=rows,
        curves=[
            mean_curve("training", f"{kind} unit", each, first=0) for kind, each in curves.items()
        ],
    )


def learn(block: type[BasicBlock], seed: int, steps: int) -> list[float]:
    """Relative squared error of f(x) = x before each step. x >= 0, as behind a ReLU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unit = block(CHANNELS, CHANNELS)
        for module in unit.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(unit.parameters(), lr=RATE)
    errors = []
    for _ in range(steps):
        x = torch.randn(BATCH, CHANNELS, SIZE, SIZE, generator=generator).relu()
        loss = functional.mse_loss(unit(x), x) / x.var()
        errors.append(loss.item())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return errors


def _steps_to_goal(errors: list[float]) -> int:
    return next((step for step, error in enumerate(errors) if error <= GOAL), len(errors))


def draw(curves: list[Curve]) -> Figure:
    """The error before each step, and when it gets below the goal."""
    figure, (axis,) = panels(1, height=3.6)
    steps = {}
    for curve in curves:
        color = PLAIN if curve.name == "plain unit" else RESIDUAL
        line(axis, curve.x, curve.y, curve.name, color=color)
        reached = [x for x, y in zip(curve.x, curve.y, strict=True) if y <= GOAL]
        steps[curve.name] = f"{reached[0]:.0f} steps" if reached else f"more than {len(curve.x)}"
    axis.axhline(GOAL, color="#888888", linewidth=0.8, linestyle=":")
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("squared error / variance")
    return finish(
        figure,
        f"Residual units learn f(x) = x to an error of {GOAL:g} in {steps['residual unit']}, "
        f"plain ones in {steps['plain unit']}",
    )
