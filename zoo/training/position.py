"""Where a training run is, what its epochs gave, and the seed of each place."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of metrics.csv. The test set is not in it, so nobody can select by it."""

    epoch: int
    """From 1."""
    loss: float
    """Mean loss over the epoch's augmented images, as the recipe defines it."""
    accuracy: float
    """0..1, of the same forward passes: on augmented images, while the network learns."""
    lr: float
    """Learning rate of the last step."""


@dataclass(kw_only=True)
class Position:
    """How far training is, and the sums of the current epoch so far, over all processes."""

    epoch: int = 0
    """Epochs that are over."""
    step: int = 0
    """Steps of the current epoch that are over."""
    loss_sum: float = 0.0
    """Sum of the images' losses."""
    correct: float = 0.0
    """Images that were classified correctly."""
    seen: float = 0.0
    """Images that were trained on."""
    lr: float = 0.0
    """Learning rate of the last step."""


def derive(seed: int, *path: int) -> int:
    """A seed for one place of a training run: 63 bits of a hash, so neighbours are unrelated."""
    text = ",".join(map(str, (seed, *path))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
