"""The constants gate: the weights in a saved file are those of the network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from compile.precision import REFERENCE, precision
from compile.proof.forms import Form, Weight
from compile.proof.gates import Gate

_WRITTEN_INTO_CODE = 8
"""AOTInductor writes vectors of this length or less, such as the bias of five classes, into its
code. Only the outputs prove them."""

_NAMED = 3
"""At most this many undecided weights are named; the rest are counted."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What comparing the weights gave."""

    gate: Gate
    skipped: tuple[dict[str, str], ...]
    """The manifest's entry for weights that could not be decided; empty if there are none."""


def compare(weights: Iterable[Weight], name: str, constants: Iterable[torch.Tensor]) -> Compared:
    """Compare the constants in a file of precision `name` with the weights it was built from.

    A backend may pack, transpose or pad them with zeros, so the sorted non-zero values are
    compared. The gate's `value` is the largest difference over what is allowed: one rounding step,
    or what a Form says. Weights on int8's grid are compared as they are; all others are rounded to
    the precision first.
    """
    held = _Held(name, constants)
    worst, culprit = 0.0, None
    undecided: dict[str, list[str]] = {}
    for weight in weights:
        distance = held.distance(weight)
        if distance <= 1.0 or weight.undecided is None:
            if not distance <= worst:  # NaN is the worst of all
                worst, culprit = distance, weight.name
        else:
            undecided.setdefault(weight.undecided, []).append(weight.name)
    value = worst if math.isfinite(worst) else None
    gate = {"name": "constants", "value": value, "bound": 1.0, "passed": worst <= 1.0}
    return Compared(
        gate={**gate, "worst": culprit},
        skipped=tuple(
            {"name": "constants", "reason": f"not decided at {_list(names)}: {why}"}
            for why, names in undecided.items()
        ),
    )


def _list(names: list[str]) -> str:
    named = ", ".join(dict.fromkeys(names[:_NAMED]))
    more = len(dict.fromkeys(names)) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


class _Held:
    """The constants of a file, by how many of their values are not zero."""

    def __init__(self, name: str, constants: Iterable[torch.Tensor]) -> None:
        self.name = name
        self.quantised = precision(name).quantised
        self.by_length: dict[int, list[torch.Tensor]] = {}
        for constant in constants:
            values = _sorted_values(constant)
            self.by_length.setdefault(len(values), []).append(values)

    def distance(self, weight: Weight) -> float:
        """How far the nearest constant is from what the weight may be; at most 1 is allowed.

        Infinite where there is no constant of that length, 0 where the weight need not be there.
        """
        nearest, needless = math.inf, False
        for form in weight.forms():
            distances = list(self._distances(form))
            nearest = min(nearest, *distances) if distances else nearest
            needless = needless or (not distances and form.values.numel() <= _WRITTEN_INTO_CODE)
            if nearest <= 1.0:
                return nearest
        if weight.parts:
            nearest = min(nearest, max(self.distance(part) for part in weight.parts))
        return 0.0 if needless and not nearest <= 1.0 else nearest

    def _distances(self, form: Form) -> Iterator[float]:
        """From each constant that has as many values."""
        on_grid = form.values.dtype == torch.int8
        row = precision("int8" if on_grid else REFERENCE if self.quantised else self.name)
        dtype = getattr(torch, row.dtype)
        expected = _sorted_values(form.values if on_grid else form.values.to(dtype))
        if not len(expected):  # all zeros, which the comparison leaves out
            yield 0.0
            return
        smallest = 1.0 if on_grid else torch.finfo(dtype).tiny
        allowed = form.steps * row.eps * expected.abs().clamp_min(smallest)
        allowed = allowed + form.apart + form.roundings * row.eps * form.size
        for values in self.by_length.get(len(expected), ()):
            yield float(((values - expected).abs() / allowed).max())


def _sorted_values(tensor: torch.Tensor) -> torch.Tensor:
    values = tensor.detach().flatten().double()
    return torch.from_numpy(np.sort(values[values != 0].numpy()))  # ten times faster than torch
