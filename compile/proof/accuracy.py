"""How many labelled images are classified correctly, and what a difference of two counts means.

docs/parity.md, "Accuracy", says how to read the figures.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from compile.network.copying import copied
from compile.network.oracle import oracle

_CLEAR = 0.01
"""Where float32 has a margin of this share of the output's size, float64 gives the same class.
Eager float32 is wrong by 2e-6 of that size in a random resnet50, by less in every other network
measured."""

_Z95 = 1.959964
_CHUNK = 16


def reference_classes(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the classes that the module gives in float64: (N, C, H, W) float32 -> (N,).

    float64 takes ten times as long, so float64 decides only where float32's margin is narrow.
    """
    single = copied(module).cpu().eval()
    with torch.no_grad():
        out = torch.cat([single(chunk) for chunk in torch.split(images, _CHUNK)])
    largest = out.topk(min(2, out.shape[1]), dim=1).values
    margin = largest[:, 0] - largest[:, -1]
    unclear = ~(margin > _CLEAR * out.square().mean(dim=1).sqrt())  # True for NaN
    classes = out.argmax(dim=1)
    if bool(unclear.any()):
        classes[unclear] = oracle(module, images[unclear].double()).argmax(dim=1)
    return classes


def percent(right: torch.Tensor) -> float:
    """Per cent of (N,) booleans that are true."""
    return 100 * int(right.sum()) / len(right)


def paired(before: torch.Tensor, after: torch.Tensor) -> dict[str, Any]:
    """What changed between two runs over the same images: (N,) booleans, true where correct.

    `lost` counts images that only the first run has right, `won` those that only the second has.
    `mcnemar_p` is the probability of a split at least as uneven by chance.
    """
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    return {"lost": lost, "won": won, "mcnemar_p": mcnemar(lost, won)}


def score(classes: torch.Tensor, labels: torch.Tensor, reference: torch.Tensor | None) -> Any:
    """The figures of one run over labelled images: (N,) classes, (N,) labels, (N,) or None.

    `interval` is Wilson's 95 % interval, in per cent; `float64` compares with `reference`, the
    classes of the float64 model, and is None without them.
    """
    right = classes == labels
    correct, total = int(right.sum()), len(labels)
    entry: dict[str, Any] = {
        "correct": correct,
        "total": total,
        "interval": [100 * end for end in wilson(correct, total)],
        "float64": None,
    }
    if reference is not None:
        theirs = reference == labels
        entry["float64"] = {
            "correct": int(theirs.sum()),
            "same_class": int((classes == reference).sum()),
            **paired(theirs, right),
        }
    return entry


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion, within 0 and 1; `whole` above 0.

    Near 1, where accuracies are, the usual interval would reach beyond 1; this one does not.
    """
    share, z2 = part / whole, _Z95**2
    centre = share + z2 / (2 * whole)
    spread = _Z95 * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole**2))
    low, high = ((centre + sign * spread) / (1 + z2 / whole) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def mcnemar(lost: int, won: int) -> float:
    """McNemar's exact test: the two-sided p of the images that one run alone has right.

    If both runs are equally good, each of these images is a fair coin. p is 1 where there are none.
    """
    n = lost + won
    term = tail = 1
    for k in range(min(lost, won)):
        term = term * (n - k) // (k + 1)  # the next binomial coefficient
        tail += term
    return min(1.0, float(Fraction(2 * tail, 2**n)))
