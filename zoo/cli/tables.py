"""What several commands print with: a progress line on stderr, and texts of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from compile.errors import printable
from compile.report import short, table

if TYPE_CHECKING:
    from zoo.training.speed import Speed


class StageLine:
    """A line on stderr that says what runs: it ticks on a terminal; elsewhere, one per stage."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        self._live = Progress(*columns, console=self._console, transient=True)
        self._task = self._live.add_task("", total=None)

    def __enter__(self) -> StageLine:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *reason: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, stage: str) -> None:
        stage = printable(stage)
        if self._console.is_terminal:
            self._live.update(self._task, description=stage)
        else:
            self._console.print(stage, markup=False)


def speed_table(speeds: list[Speed], here: dict[str, Any]) -> list[Any]:
    """A row for each loop of `zoo train --profile`, then notes."""
    rows = [
        (
            speed.name,
            short(speed.images_per_s),
            _range(speed.interval),
            short(speed.over_plain),
            _range(speed.over_plain_interval),
            str(speed.n),
        )
        for speed in speeds
    ]
    columns = ("loop", "images/s", "95 %", "times plain", "95 %", "n")
    notes = [
        "plain loop: eager, fp32, NCHW, one batch in memory again and again, in a child process",
        f"{here['cpu']}, {counted([here['threads']], 'thread')}, "
        f"torch {here['versions'].get('torch')}, commit {here['commit']}, {here['date']}",
    ]
    return [table(columns, rows, left=("loop",)), *wrapped(notes)]


def _range(interval: tuple[float, float] | None) -> str:
    return f"{short(interval[0])}..{short(interval[1])}" if interval else "-"


def counted(numbers: Iterable[int], noun: str) -> str:
    """`1 call`, `1,000 calls`, or from the smallest to the largest: `86 to 1,000 calls`."""
    known = set(numbers)
    span = " to ".join(f"{number:,}" for number in sorted({min(known), max(known)}))
    return f"{span} {noun}" if known == {1} else f"{span} {noun}s"


def wrapped(lines: list[str], indent: int = 2) -> list[str]:
    """Break lines at 79 columns, or as the terminal is narrower, only between words: paths and
    commands stay whole.
    """
    width = max(20, min(79, Console().width - 1))
    wrap = textwrap.TextWrapper(
        width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    return [part for line in lines for part in wrap.wrap(line)]
