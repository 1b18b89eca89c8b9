"""How wrong a program is at one place: behind a block, or at an output of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from compile.artifact.outputs import Layout
from compile.proof import parity
from compile.proof.golden import Bounds, Golden


@dataclass(frozen=True, kw_only=True)
class Point:
    """How wrong the program is at one place. All errors are relative to the values' size."""

    name: str
    error: float
    """Largest root mean square error of the samples; infinity where the shapes differ."""
    eager: float
    """PyTorch's own error at the precision; at least one rounding step, at int8 half of one."""
    allowed: float
    """k times that and half a rounding step; more at int8, where the grid is noisy."""
    ratio: float
    """Largest error over what is allowed; at most 1 passes."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """One output of the network, and how wrong the program's is."""

    number: int
    """In the manifest's order."""
    golden: Golden
    """With the values of this output alone."""
    bounds: Bounds
    point: Point
    """Under the output's name."""
    row: int
    """The golden row that is most wrong."""


def endings(error: torch.Tensor, golden: Golden, bounds: Bounds) -> list[Ending]:
    """Every output, from the errors (N, pieces) of all of them."""
    layout = golden.layout
    found = []
    for number, (output, columns, pieces) in enumerate(
        zip(layout.outputs, layout.columns, layout.pieces, strict=True)
    ):
        one = replace(golden, oracle=golden.oracle[:, columns], layout=Layout([output]))
        held = Bounds(k=bounds.k, e_eager=bounds.e_eager[:, pieces], floor=bounds.floor[:, pieces])
        point = final_point(error[:, pieces], one, held, output.name)
        row = int(parity.share(error[:, pieces], held.bound).amax(dim=1).argmax())
        found.append(Ending(number=number, golden=one, bounds=held, point=point, row=row))
    return found


def final_point(error: torch.Tensor, golden: Golden, bounds: Bounds, name: str) -> Point:
    """The point of one output, from its errors (N, pieces), judged as `zoo check` does.

    It is the sample and the piece that is furthest beyond its bound, or nearest to it.
    """
    ratios = parity.share(error, bounds.bound)
    row, piece = divmod(int(ratios.argmax()), ratios.shape[1])  # NaN is the largest of all
    size = golden.layout.rms(golden.oracle[[row]])[0, 0].clamp_min(1e-300)
    return Point(
        name=name,
        error=largest(error[row, piece] / size),
        eager=largest(bounds.e_eager[row, piece] / size),
        allowed=largest(bounds.bound[row, piece] / size),
        ratio=largest(ratios[row, piece]),
    )


def largest(values: torch.Tensor) -> float:
    """The largest value; NaN counts as infinite."""
    return float(values.nan_to_num(nan=math.inf, posinf=math.inf).max())
