"""The networks by name: `build("resnet50", num_classes=10)`. A family is one file and one row."""

from __future__ import annotations

import difflib

import torch
from torch import nn

from zoo.errors import UsageError
from zoo.models import antialias, attention, cifar, plain, preact, resnet, resnetrs, tricks
from zoo.models.calibration import calibrate_batch_norms
from zoo.models.counting import macs, parameters
from zoo.models.family import Family, ModelInfo, check_options
from zoo.models.unit import ResidualUnit

__all__ = [
    "ModelInfo",
    "ResidualUnit",
    "build",
    "calibrate_batch_norms",
    "info",
    "macs",
    "names",
    "parameters",
]

FAMILIES: tuple[Family, ...] = (
    resnet,
    cifar,
    plain,
    preact,
    tricks,
    attention,
    antialias,
    resnetrs,
)


def names() -> list[str]:
    """All names that `build` knows, in the order of the families' tables."""
    return [name for family in FAMILIES for name in family.VARIANTS]


def info(name: str) -> ModelInfo:
    """What is known of a network without building it: its family, depth, paper, shape, options.

    An unknown name is a UsageError that offers the closest ones.
    """
    return _family(name).info(name)


def build(name: str, *, seed: int | None = None, **options: object) -> nn.Module:
    """Build a freshly initialised network, in training mode, float32, on the CPU.

    `info(name).options` says which options it accepts: `num_classes` and `in_channels` (by default
    those it was published for), `stem` (`imagenet`, or `small` for images that are too small to be
    quartered), `shortcut` (`A`, `B` or `C` of the ResNet paper) and `zero_init_residual` (start
    every unit as its shortcut; False). With a `seed` the weights depend on it alone and torch's
    global random state is left as it was; without one they are drawn from that global state. An
    unknown name or option, or a value that does not fit, is a UsageError of one line.
    """
    family = _family(name)
    check_options(family.info(name), options)
    if seed is None:
        return family.build(name, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family.build(name, **options)


def _family(name: str) -> Family:
    for family in FAMILIES:
        if name in family.VARIANTS:
            return family
    close = difflib.get_close_matches(name, names(), n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else "."
    raise UsageError(f"unknown model '{name}'{hint} Run `zoo list` for all of them")
