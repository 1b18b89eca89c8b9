"""The settings that an artifact can be measured in: batch, threads and streams.

Nothing heavy is imported here, so a mistyped sweep is refused at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from compile.errors import UsageError, printable

LARGEST = {"batch": 2**20, "threads": 1024, "streams": 256}
"""What can be varied, and the largest value of each that zoo-run takes."""

OFFLINE = "offline"
SINGLE_STREAM = "single-stream"
"""Scenarios of zoo-run."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One combination of values."""

    batch: int
    """Rows of a call."""
    threads: int
    """CPU threads, in all."""
    streams: int
    """That share one loaded program and divide the threads among them."""

    def __str__(self) -> str:
        threads, streams = counted(self.threads, "thread"), counted(self.streams, "stream")
        return f"batch {self.batch}, {threads}, {streams}"


def counted(number: int, noun: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def parse_sweep(words: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Read `batch=1,8` and the like; a word may hold several. Anything else is a UsageError."""
    found: dict[str, tuple[int, ...]] = {}
    for piece in " ".join(words).split():
        name, sign, values = piece.partition("=")
        if not sign:
            raise _fault(piece, "it has no values")
        if name in found:
            raise _fault(piece, f"{name} is given twice")
        listed = values.split(",")
        if not all(re.fullmatch(r"[0-9]{1,9}", each) for each in listed):
            raise _fault(piece, "each value must be a whole number")
        found[name] = tuple(map(int, listed))
    return check_sweep(found)


def check_sweep(given: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The values of a sweep by name. A name or a value that is not allowed is a UsageError."""
    if not given:
        raise _fault("", "nothing varies")
    for name, values in given.items():
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise _fault(f"{name}={values}", "the values must be a list")
        said = f"{name}={','.join(map(str, values))}"
        if name not in LARGEST:
            raise _fault(said, f"'{name}' cannot be varied")
        if not values:
            raise _fault(said, "it has no values")
        if not all(type(each) is int and 1 <= each <= LARGEST[name] for each in values):
            raise _fault(said, "a value is out of range")
        if len(set(values)) < len(values):
            raise _fault(said, "a value is given twice")
    return {name: tuple(values) for name, values in given.items()}


def _fault(said: str, what: str) -> UsageError:
    allowed = ", ".join(f"{name} (1 to {most})" for name, most in LARGEST.items())
    return UsageError(
        f"sweep '{printable(said)}': {what}; allowed are {allowed}, such as batch=1,8 threads=1,2"
    )
