"""The networks by name: `build("resnet50", num_classes=10)`. A family is one file and one row."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import torch
from torch import nn

from zoo.errors import UsageError
from zoo.models import resnet
from zoo.models.calibration import calibrate_batch_norms
from zoo.models.counting import macs, parameters

__all__ = ["build", "calibrate_batch_norms", "macs", "names", "parameters"]

# Each family: the names it knows, and the function that builds one of them.
FAMILIES: tuple[tuple[tuple[str, ...], Callable[..., nn.Module]], ...] = (
    (tuple(resnet.VARIANTS), resnet.build),
)


def names() -> list[str]:
    """All names that `build` knows, in the order of the families' tables."""
    return [name for members, _ in FAMILIES for name in members]


def build(name: str, *, seed: int | None = None, **options: object) -> nn.Module:
    """Build a freshly initialised network, in training mode, float32, on the CPU.

    Options are the family's: for a ResNet `num_classes` (1000), `in_channels` (3), `stem`
    (`imagenet` or `small`) and `zero_init_residual` (False). With a `seed` the weights depend on
    it alone and torch's global random state is left as it was; without one they are drawn from
    that global state. An unknown name is a UsageError that lists the known ones.
    """
    for members, family in FAMILIES:
        if name in members:
            if seed is None:
                return family(name, **options)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return family(name, **options)
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise UsageError(f"unknown model '{name}'{hint}; choose one of: {', '.join(names())}")
