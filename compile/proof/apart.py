"""How far two answers of one module are apart, and how far is still rounding."""

from __future__ import annotations

from collections.abc import Sequence

import torch

WHOLE = (slice(None),)
"""The columns of an answer that is one output."""

LIMIT = {torch.float64: 1e-9, torch.float32: 1e-5}
"""Largest distance that counts as rounding, relative to the root mean square of the answer.

Float32 rounds 5e8 times as coarsely as float64. A network whose rounding errors grow to 1e-9 in
float64 is wrong by half of its answer in float32. The limit of float32 is for two calls with the
same image in the same shape, which mostly give the same bits.
"""


def distances(
    output: torch.Tensor, wanted: torch.Tensor, columns: Sequence[slice] = WHOLE
) -> torch.Tensor:
    """Root mean square of output - wanted over that of wanted: (N, ...) -> (N, outputs) float64.

    `columns` has those of each output. Each is measured by its own size: beside a large output a
    small one would not count. A value that is not finite is 0 away from itself, and infinitely far
    from everything else.
    """
    one, other = output.double().flatten(1), wanted.double().flatten(1)
    return torch.stack([_distances(one[:, own], other[:, own]) for own in columns], dim=1)


def _distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The same for one output, per row: (N, width) -> (N,)."""
    same = (one == other) | (one.isnan() & other.isnan())
    difference = torch.where(same, 0.0, one - other)
    size = torch.where(same & ~other.isfinite(), 0.0, other).square().mean(dim=1).sqrt()
    far = difference.square().mean(dim=1).sqrt() / size.clamp_min(1e-300)
    return torch.where(same.all(dim=1), 0.0, far.nan_to_num(torch.inf, torch.inf))


def distance(output: torch.Tensor, wanted: torch.Tensor, columns: Sequence[slice] = WHOLE) -> float:
    """The largest of the distances; infinite for two shapes."""
    if output.shape != wanted.shape:
        return float("inf")
    return float(distances(output, wanted, columns).max())


def in_words(far: float) -> str:
    """`7.3 %`, `12 times its size`, or `4e-07` if it is small: a distance for messages."""
    if not far < float("inf"):
        return "an infinite amount"
    if far >= 10:
        return f"{far:.0f} times its size"
    return f"{100 * far:.{1 if far < 0.1 else 0}f} %" if far >= 1e-3 else f"{far:.0e}"
