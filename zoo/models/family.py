"""What a family of networks says about its members, and the options that a member accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from zoo.errors import UsageError
from zoo.models.sizes import SIZES

IMAGENET = (3, 224, 224)
CIFAR = (3, 32, 32)
STEMS = ("imagenet", "small")
SHORTCUTS = ("A", "B", "C")


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known of a network without building it."""

    name: str
    family: str
    depth: int
    """Weighted layers from the input to the logits, as its paper counts: projections left out."""
    source: str
    """Short title and arXiv id of the paper."""
    shape: tuple[int, int, int]
    """Channels, height and width of the images that it was published for."""
    num_classes: int
    """Of the data set that it was published for: ImageNet's 1000 or CIFAR's 10."""
    options: tuple[str, ...]
    """Names of the options that `build` accepts for it."""

    @property
    def parameters(self) -> int:
        """Trainable parameters, as published."""
        return SIZES[self.name][0]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample of `shape`, as published."""
        return SIZES[self.name][1]


class Family(Protocol):
    """A module of this package: a table of rows, and what can be made of a row's name."""

    @property
    def VARIANTS(self) -> Mapping[str, Any]: ...

    def info(self, name: str) -> ModelInfo: ...

    def build(self, name: str, **options: Any) -> nn.Module: ...


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


# Each option: which values fit, and how an error says so.
OPTIONS: dict[str, tuple[Callable[[object], bool], str]] = {
    "num_classes": (_is_count, "a whole number of at least 1"),
    "in_channels": (_is_count, "a whole number of at least 1"),
    "stem": (STEMS.__contains__, f"one of: {', '.join(STEMS)}"),
    "shortcut": (SHORTCUTS.__contains__, f"one of: {', '.join(SHORTCUTS)}"),
    "zero_init_residual": (lambda value: isinstance(value, bool), "True or False"),
}


def check_options(model: ModelInfo, options: Mapping[str, object]) -> None:
    """Raise UsageError for an option that `model` lacks, or for a value that does not fit."""
    for option, value in options.items():
        if option not in model.options:
            raise UsageError(
                f"{model.name} has no option '{option}'; it takes: {', '.join(model.options)}"
            )
        fits, allowed = OPTIONS[option]
        if not fits(value):
            raise UsageError(f"{option} of {model.name} is {value!r}; it must be {allowed}")
