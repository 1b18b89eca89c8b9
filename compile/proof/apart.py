"""How far two answers of one module are apart, and how far is still rounding."""

from __future__ import annotations

import torch

LIMIT = {torch.float64: 1e-9, torch.float32: 1e-5}
"""Largest distance that counts as rounding, relative to the root mean square of the answer.

Float32 rounds 5e8 times as coarsely as float64. A network whose rounding errors grow to 1e-9 in
float64 is wrong by half of its answer in float32. The limit of float32 is for two calls with the
same image in the same shape, which mostly give the same bits.
"""


def distances(output: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Root mean square of output - wanted over that of wanted, per row: (N, ...) -> (N,) float64.

    A value that is not finite is 0 away from itself, and infinitely far from everything else.
    """
    one, other = output.double().flatten(1), wanted.double().flatten(1)
    same = (one == other) | (one.isnan() & other.isnan())
    difference = torch.where(same, 0.0, one - other)
    size = torch.where(same & ~other.isfinite(), 0.0, other).square().mean(dim=1).sqrt()
    far = difference.square().mean(dim=1).sqrt() / size.clamp_min(1e-300)
    return torch.where(same.all(dim=1), 0.0, far.nan_to_num(torch.inf, torch.inf))


def distance(output: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest of the distances; infinite for two shapes."""
    if output.shape != wanted.shape:
        return float("inf")
    return float(distances(output, wanted).max())


def in_words(far: float) -> str:
    """`7.3 %`, `12 times its size`, or `4e-07` if it is small: a distance for messages."""
    if not far < float("inf"):
        return "an infinite amount"
    if far >= 10:
        return f"{far:.0f} times its size"
    return f"{100 * far:.{1 if far < 0.1 else 0}f} %" if far >= 1e-3 else f"{far:.0e}"
