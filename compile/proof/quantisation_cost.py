"""What quantisation costs: noise in the outputs, and images that are classified wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from compile.proof import gates
from compile.proof.accuracy import paired, percent
from compile.proof.gates import Gate
from compile.proof.golden import Golden
from compile.proof.images import Labelled
from compile.spec import ROWS

ACCURACY_BUDGET = 0.5
"""Percentage points of test accuracy that quantisation may cost."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What quantisation costs one network."""

    gates: list[Gate]
    """Of the noise and, with labelled images, of the accuracy; judged."""
    skipped: list[dict[str, str]]
    """Gates that could not be judged: `name` and `reason` of each."""
    accuracy: dict[str, Any] | None
    """The manifest's entry; None without labelled images."""


def quantisation_cost(
    folded: nn.Module, quantised: nn.Module, ordinary: Golden, labelled: Labelled | None
) -> Cost:
    """Compare a folded network with its fake-quantised graph, both in float32. They return rows.

    The noise is measured on the `ordinary` golden samples, the accuracy on `labelled` ones.
    """
    noise = gates.quantisation_noise(quantised, ordinary)
    scores = ordinary.layout.scores
    if labelled is None or scores is None:
        reason = "no labelled images" if labelled is None else "no output holds class scores"
        reason += ": what quantisation costs in accuracy is not known"
        skipped = [{"name": "accuracy budget", "reason": reason}]
        return Cost(gates=[noise], skipped=skipped, accuracy=None)
    before, after = (_is_right(module, scores, labelled) for module in (folded, quantised))
    accuracy = {
        "before": percent(before),
        "after": percent(after),
        "images": len(labelled.images),
        **paired(before, after),
    }
    lost = percent(before) - percent(after)
    budget = {
        "name": "accuracy budget",
        "value": lost,
        "bound": ACCURACY_BUDGET,
        "passed": lost <= ACCURACY_BUDGET,
    }
    return Cost(gates=[noise, budget], skipped=[], accuracy=accuracy)


def _is_right(module: nn.Module, scores: slice, labelled: Labelled) -> torch.Tensor:
    """Which of the labelled images `module` classifies correctly: (N,) booleans.

    `scores` are the columns of its rows that hold the scores of classes.
    """
    with torch.no_grad():
        chunks = torch.split(labelled.images, ROWS)
        classes = torch.cat([module(chunk)[:, scores].argmax(dim=1) for chunk in chunks])
    return classes == labelled.labels
