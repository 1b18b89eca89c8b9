"""The networks by name: `build("resnet50", num_classes=10)`.

A network is a row in its family's file, and a row in catalogue.py that says how large it is.
Importing this package does not import torch: names and sizes are there at once.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from zoo.errors import UsageError
from zoo.models.catalogue import CATALOGUE, ModelInfo
from zoo.models.options import check_options

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CATALOGUE", "ModelInfo", "build", "info", "names"]


def build(name: str, *, seed: int | None = None, **options: object) -> nn.Module:
    """Build a freshly initialised network, in training mode, float32, on the CPU.

    It maps float32 images (B, C, H, W) to logits (B, num_classes). `info(name).options` says which
    options it accepts: `num_classes` and `in_channels` (by default those it was published for),
    `stem` (`imagenet`, or `small` for images that are too small to be quartered), `shortcut` (`A`,
    `B` or `C` of the ResNet paper) and `zero_init_residual` (start every unit as its shortcut;
    False). With a `seed` the weights depend on it alone and torch's global random state is left as
    it was; without one they are drawn from that global state. An unknown name or option, or a
    value that does not fit, is a UsageError of one line.

    >>> network = build("resnet18", seed=0, num_classes=10, stem="small")
    """
    import torch

    from zoo.models.families import FAMILIES

    check_options(info(name), options)
    family = next(family for family in FAMILIES if name in family.VARIANTS)
    if seed is None:
        return family.build(name, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family.build(name, **options)


def info(name: str) -> ModelInfo:
    """What is known of a network without building it: its family, size, paper, shape, options.

    An unknown name is a UsageError that offers the closest ones.

    >>> info("resnet50").parameters
    25557032
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    close = difflib.get_close_matches(name, CATALOGUE, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else "."
    raise UsageError(f"unknown model '{name}'{hint} Run `zoo list` for all of them")


def names(pattern: str | None = None, *, family: str | None = None) -> list[str]:
    """The names that `build` knows, family by family, as `zoo list` shows them.

    `pattern` is a glob for the whole name if it holds `*`, `?` or `[`, else a part of the name.
    An unknown family is a UsageError that lists those there are. If nothing fits, the list is
    empty.

    >>> names("resnext50_*")
    ['resnext50_32x4d']
    """
    families = sorted({model.family for model in CATALOGUE.values()})
    if family is not None and family not in families:
        raise UsageError(f"unknown family '{family}'; choose one of: {', '.join(families)}")
    return [
        name
        for name, model in CATALOGUE.items()
        if (pattern is None or _matches(name, pattern)) and family in (None, model.family)
    ]


def _matches(name: str, pattern: str) -> bool:
    if any(character in pattern for character in "*?["):
        return fnmatchcase(name, pattern)
    return pattern in name
