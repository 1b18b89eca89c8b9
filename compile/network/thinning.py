"""Which values of a network's outputs a proof keeps: some of each channel, if they are many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from compile.artifact.outputs import Layout, Output
from compile.network.naming import SCORES
from compile.spec import ROWS

_MOST_BYTES = 32 * 2**20
"""Size of golden.safetensors. Large outputs are thinned to keep to it."""

_LEAST_BYTES = 4 * 2**20
"""The outputs in it may take as much, even if its inputs leave less."""

_ROWS = ROWS + 8
"""Its rows: the ordinary samples, and at most 8 hostile ones."""


def layout_of(
    tensors: Mapping[str, torch.Tensor], *, asked: bool, classes: int | None, input_bytes: int
) -> Layout:
    """The layout of outputs (N, ...) by their names.

    Args:
        tensors: what the network returned for some input.
        asked: whether the outputs were asked for by name.
        classes: how many class names are known, or None.
        input_bytes: size of one sample of the input.
    """
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
    parts = sum(2 * Output(name=name, shape=shape).groups for name, shape in shapes.items())
    room = max(_LEAST_BYTES, _MOST_BYTES - _ROWS * (input_bytes + 8 * parts)) // (8 * (_ROWS + 1))
    shares = _shares([math.prod(shape) for shape in shapes.values()], room)
    outputs = []
    for (name, shape), share in zip(shapes.items(), shares, strict=True):
        only = len(shapes) == 1 and not asked
        is_vector = len(shape) == 1 and shape[0] > 1
        scores = is_vector and (only or name == SCORES or shape[0] == classes)
        positions = _positions(shape, share) if share < math.prod(shape) else None
        outputs.append(Output(name=name, shape=shape, scores=scores, positions=positions))
    return Layout(outputs)


def _shares(sizes: Sequence[int], room: int) -> list[int]:
    """How many values of each output are kept: all of a small one, equal shares of the others."""
    shares = [0] * len(sizes)
    for done, i in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shares[i] = min(sizes[i], max(1, room // (len(sizes) - done)))
        room -= shares[i]
    return shares


def _positions(shape: tuple[int, ...], share: int, seed: int = 0) -> torch.Tensor:
    """At most `share` positions of a sample, drawn with a seed, ascending: (P,) int64.

    Each channel keeps its corners, then as many places of its border as of its interior. If there
    are too many channels for that, only some of them are kept.
    """
    generator = torch.Generator().manual_seed(seed)
    channels, sites = (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, shape[0])
    corners, border, interior = _regions(shape[1:] if len(shape) > 1 else shape)
    fewest = min(sites, len(corners) + 2)
    looked_at = torch.arange(channels)
    if channels * fewest > share:
        chosen = torch.randperm(channels, generator=generator)[: max(1, share // fewest)]
        looked_at = chosen.sort().values
    each = min(sites, share // len(looked_at))
    inside = min(len(interior), max(each - len(corners) - len(border), (each - len(corners)) // 2))
    outside = min(len(border), each - len(corners) - inside)
    found = []
    for channel in looked_at.tolist():
        drawn = [
            places[torch.randperm(len(places), generator=generator)[:count]]
            for places, count in ((border, outside), (interior, inside))
        ]
        found.append(channel * sites + torch.cat([corners, *drawn])[:each])
    return torch.cat(found).sort().values


def _regions(extents: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Flat places of one channel: its corners, the rest of its border, its interior."""
    places = torch.arange(math.prod(extents))
    edges = torch.stack(
        [
            (index == 0) | (index == extent - 1)
            for index, extent in zip(torch.unravel_index(places, extents), extents, strict=True)
        ]
    )
    corner, border = edges.all(dim=0), edges.any(dim=0)
    return places[corner], places[border & ~corner], places[~border]
