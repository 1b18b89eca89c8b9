"""Networks of several outputs that must be refused: one output is wrong, and the others hide it."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import nn

from tests.networks.network import BATCH, Do, Network, stem


def _beside_a_large_one(function: Any, **parts: Any) -> nn.Module:
    """A large map, and a vector a million times as small that `function` makes of the features."""

    def outputs(self: Do, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 1e3 * x, 1e-3 * function(self, x.mean((2, 3)))

    return nn.Sequential(stem(), nn.ReLU(), Do(outputs, **parts))


def small_memory() -> nn.Module:
    """The small vector holds the one before, too."""

    def remember(self: Do, x: torch.Tensor) -> torch.Tensor:
        before, self.kept[0] = self.kept[0], x
        return x if before is None else x + before

    return _beside_a_large_one(remember, kept=[None])


def small_draw() -> nn.Module:
    """The small vector has a random factor, from a generator of its own."""
    return _beside_a_large_one(lambda self, x: x * self.own.random(), own=random.Random(0))


def small_mixing() -> nn.Module:
    """The small vector is less the mean of its batch."""
    return _beside_a_large_one(lambda self, x: x - 0.5 * x.mean(0, keepdim=True))


def small_in_double() -> nn.Module:
    """The small vector is another one in float64."""
    return _beside_a_large_one(lambda self, x: x if x.dtype == torch.float64 else 2 * x * x)


def more_for_many() -> nn.Module:
    """Two outputs for one or two images, three for more."""
    count = Do(lambda self, x: (x, x.mean((2, 3)), x) if x.shape[0] > 2 else (x, x.mean((2, 3))))
    return nn.Sequential(stem(), nn.ReLU(), count)


def one_row_of_anchors() -> nn.Module:
    """Features, and the places of the anchors: one row, however many images there are."""
    anchors = Do(lambda self, x: (x, self.anchors), anchors=torch.rand(1, 9, 4))
    return nn.Sequential(stem(), nn.ReLU(), anchors)


def other_at_thirteen() -> nn.Module:
    """One of two outputs is another one if there are exactly 13 images."""
    other = Do(lambda self, x: (x, x.mean((2, 3)) + (0.1 if x.shape[0] == 13 else 0.0)))
    return nn.Sequential(stem(), nn.ReLU(), other)


def other_at_multiples() -> nn.Module:
    """One of two outputs is another one if the images can be split in eleven parts."""
    other = Do(lambda self, x: (x, x.mean((2, 3)) + (0.1 if x.shape[0] % 11 == 0 else 0.0)))
    return nn.Sequential(stem(), nn.ReLU(), other)


def as_many_as_found() -> nn.Module:
    """A list of what is large, as long as the image makes it."""

    def found(self: Do, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x.flatten(1)[:, x[0].flatten() > 1.0]

    return nn.Sequential(stem(), nn.ReLU(), Do(found))


def no_logarithm() -> nn.Module:
    """One of two outputs is the logarithm of numbers of which many are 0."""
    return nn.Sequential(stem(), nn.ReLU(), Do(lambda self, x: {"map": x, "log": x.log()}))


def complex_numbers() -> nn.Module:
    """One of two outputs is complex."""
    return nn.Sequential(stem(), Do(lambda self, x: {"map": x, "waves": torch.fft.fft2(x)}))


def sparse() -> nn.Module:
    """One of two outputs is sparse."""
    return nn.Sequential(stem(), Do(lambda self, x: {"map": x, "few": x.mean(3).to_sparse()}))


_SINGLE = (small_memory, small_draw, as_many_as_found, no_logarithm, complex_numbers, sparse)
_BATCHED = (small_mixing, more_for_many, one_row_of_anchors)
_WIDE = (other_at_thirteen, other_at_multiples)
_BATCHES = {_SINGLE: (1, 1), _BATCHED: BATCH, _WIDE: (1, 64)}

TABLE = {
    each.__name__: Network(make=each, batch=batch, truth="refuse: one of its outputs is wrong")
    for makers, batch in _BATCHES.items()
    for each in makers
} | {
    "small_in_double": Network(
        make=small_in_double, truth="either: what is compiled is its graph of float32"
    )
}
