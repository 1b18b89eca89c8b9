"""Which networks the other libraries have too, so that their loaders can read a run's weights."""

from __future__ import annotations

from typing import Any

import torch

from zoo.errors import UsageError
from zoo.exchange.preprocessing import TORCHVISION
from zoo.models import build, info
from zoo.runs.checkpoint import RunConfig

FORMATS = ("torchvision", "timm", "hf")
_TORCHVISION = {name for name, _ in TORCHVISION.values()}
_NOT_IN_TIMM = {"cifar", "plain"}
"""Families that timm lacks. It also lacks the networks of other families for small images."""
_STANDARD = {"stem": "imagenet", "shortcut": "B"}
"""Option -> the value that the other libraries' networks have."""
_FREE = {"num_classes", "in_channels", "zero_init_residual"}
"""Options that may have any value."""


def check_format(config: RunConfig, wanted: str) -> None:
    """Raise a UsageError, which names the formats that fit, unless `wanted` fits this run."""
    if wanted not in FORMATS:
        raise UsageError(f"unknown --format '{wanted}'; choose one of: {', '.join(FORMATS)}")
    reason = _lacks(config, wanted)
    if reason is None:
        return
    others = [each for each in FORMATS if _lacks(config, each) is None]
    instead = (
        f"use --format {' or '.join(others)}"
        if others
        else "no other library has it, so share the run's own folder"
    )
    raise UsageError(f"--format {wanted}: {reason}; {instead}")


def _lacks(config: RunConfig, wanted: str) -> str | None:
    """Why the library of a format cannot build this network. None if it can."""
    library = "torchvision" if wanted == "torchvision" else "timm"
    model = info(config.model)
    for option, value in config.options.items():
        if option not in _FREE and value != _STANDARD.get(option):
            return f"{library} has no {config.model} with {option}={value}"
    if library == "torchvision":
        if config.model not in _TORCHVISION:
            return f"torchvision has no {config.model}"
        if sizes(config)[1] != 3:
            return "torchvision's networks take 3 channels only"
    elif model.family in _NOT_IN_TIMM or model.shape[1] < 64:
        return f"timm has no {config.model}"
    return None


def sizes(config: RunConfig) -> tuple[int, int]:
    """The number of classes and of channels of a run's network."""
    model = info(config.model)
    classes = config.options.get("num_classes", model.num_classes)
    return int(classes), int(config.options.get("in_channels", model.shape[0]))


def tensors_that_depend_on(model: str, option: str, options: dict[str, Any]) -> dict[str, int]:
    """Tensors whose shape depends on `num_classes` or `in_channels` -> the axis that does.

    For `num_classes` they are those of the head, its weight first. For `in_channels` it is the
    weight of the first layer.
    """
    with torch.device("meta"):
        two, three = (build(model, **{**options, option: n}).state_dict() for n in (2, 3))
    axes = {}
    for name, tensor in two.items():
        differing = [a != b for a, b in zip(tensor.shape, three[name].shape, strict=True)]
        if any(differing):
            axes[name] = differing.index(True)
    return axes
