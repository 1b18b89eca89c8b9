"""The options that networks accept, and which values fit them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo.errors import UsageError
from zoo.models.catalogue import ModelInfo

STEMS = ("imagenet", "small")
SHORTCUTS = ("A", "B", "C")


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
