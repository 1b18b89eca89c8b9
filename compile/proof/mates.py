"""Does the answer to an image depend on the other images of its batch?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, partial

import torch
from torch import nn

from compile.network.copying import copied, in_type
from compile.network.flat import OtherShapes
from compile.network.oracle import Oracle
from compile.proof.apart import LIMIT, distance, distances, in_words
from compile.proof.culprit import first_apart, record
from compile.proof.golden import Golden
from compile.proof.repeats import own_randomness
from compile.spec import ROWS

_STEP = 2.0**-52
"""One rounding step of float64."""

_GROWTH = 100
"""One rounding step of each pixel changes the answer. A difference of up to so many times that
change counts as rounding."""

_LIMIT_OF_LAYER = 1e-4
"""If outputs of a layer are further apart than this in float32, it is said to mix the images."""


def mixing(oracle: Oracle, golden: Golden) -> str | None:
    """What shows that answers depend on the rest of their batch, in words; None if nothing does.

    All samples go in one batch, as they do where PyTorch's own error is measured. Then half of the
    ordinary ones go in another order and without the hostile ones, and then two.
    """
    ordinary = list(range(min(ROWS, len(golden.pixels))))
    batches = (list(range(len(golden.pixels))), ordinary[::-2], [ordinary[-1], ordinary[0]])
    return _mixing_in(batches, oracle, golden)


def mixing_at(sizes: Sequence[int], oracle: Oracle, golden: Golden) -> str | None:
    """The same for batches of these sizes: a module may look at how many images there are."""
    return _mixing_in([golden.rows(size).tolist() for size in sizes], oracle, golden)


def _mixing_in(batches: Iterable[Sequence[int]], oracle: Oracle, golden: Golden) -> str | None:
    """The same for batches of these rows. One that the module refuses shows nothing."""
    for rows in batches:
        try:
            with own_randomness():
                together = oracle.together(golden.pixels[list(rows)])
        except OtherShapes as error:
            return str(error)
        except Exception:  # it may take one image alone, or an even number of them
            continue
        found = _apart(oracle, golden, rows, together)
        if found is not None:
            place, what, size = found
            mixer = _mixer(oracle.module, golden.pixels[list(rows)], place)
            return (
                f"an answer depends on the other images of its batch: row {rows[place]} "
                f"({what}) differs by {size} in a batch of {len(rows)}{mixer}"
            )
    return None


def _apart(
    oracle: Oracle, golden: Golden, rows: Sequence[int], together: torch.Tensor
) -> tuple[int, str, str] | None:
    """The place in the batch whose answer is furthest from that alone; what it is, and how far, in
    words.
    """
    alone = golden.oracle[list(rows)]
    far = distances(together, alone, golden.layout.columns)
    moved = cache(lambda row: _moved(oracle, golden, row))
    for number in far.flatten().argsort(descending=True).tolist():
        place, output = divmod(number, far.shape[1])
        size = float(far[place, output])
        if size <= LIMIT[torch.float64]:
            return None
        if size > _GROWTH * float(moved(rows[place])[output]):
            return place, golden.what(rows[place], output), in_words(size)
    return None


def _moved(oracle: Oracle, golden: Golden, row: int) -> torch.Tensor:
    """How far each output of a sample moves when each of its pixels moves by a rounding step.

    Dividing by the spread of a channel that hardly varies makes rounding errors large.
    """
    pixels = golden.pixels[row : row + 1]
    signs = torch.randint(0, 2, pixels.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    step = _STEP * pixels.abs().maximum(pixels.square().mean().sqrt())
    moved = oracle(pixels + signs * step)
    return distances(moved, golden.oracle[row : row + 1], golden.layout.columns)[0]


def _mixer(module: nn.Module, batch: torch.Tensor, place: int) -> str:
    """The layer that mixes the images, as far as their values behind each layer show it."""
    for dtype, limit in ((torch.float64, LIMIT[torch.float64]), (torch.float32, _LIMIT_OF_LAYER)):
        wide, images = in_type(copied(module), dtype), batch.to(dtype)
        try:
            with own_randomness():
                alone, together = record(wide, images[place : place + 1]), record(wide, images)
        except Exception:  # it may not run in float64
            continue
        same = partial(_same_row, place=place, size=len(batch), limit=limit)
        call = first_apart(alone, together, same)
        return f", first in {call.layer}" if call else ""
    return ""


def _same_row(
    alone: torch.Tensor, together: torch.Tensor, *, place: int, size: int, limit: float
) -> bool | None:
    """Whether a tensor of one image is that image's part of a batch's; None: no telling."""
    if alone.shape[:1] != (1,) or together.shape != (size, *alone.shape[1:]):
        return None
    if not alone.is_floating_point():
        return torch.equal(alone[0], together[place])
    return distance(together[place : place + 1], alone) <= limit
