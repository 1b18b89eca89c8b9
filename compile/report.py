"""Tables for people and JSON for programs. Tables fit 80 columns; NO_COLOR is respected."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from compile.errors import printable

_TONES = {"PASSED": "green", "VALID": "green", "FAILED": "bold red", "INVALID": "yellow"}


def to_json(document: Any) -> str:
    """One JSON document with a newline. NaN and infinities, which JSON lacks, become null."""
    return json.dumps(_finite(document), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Sequence[str] = (),
    gap: int = 2,
) -> Table:
    """A plain table. Cells are aligned right, and those of the columns in `left` are aligned left.

    There are `gap` spaces between two columns, at least one. Where the table is too wide, the first
    column, which has the names, is broken into lines before any other is cut off.
    """
    padding = (0, gap - 1, 0, 0)
    built = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=padding)
    for number, column in enumerate(columns):
        justify: JustifyMethod = "left" if column in left else "right"
        built.add_column(column, justify=justify, no_wrap=number > 0, overflow="fold")
    for row in rows:
        built.add_row(*(Text(_lines(cell), style=_TONES.get(cell, "")) for cell in row))
    return built


def _lines(text: str) -> str:
    """A cell's lines, without anything else that controls a terminal."""
    return "\n".join(map(printable, text.split("\n")))


class _Console(Console):
    """A console that lets the caller handle a closed pipe (`zoo list | head -1`)."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def show(*lines: Any) -> None:
    """Print tables, and texts of one line, on stdout.

    It is as wide as the terminal, or 80 columns without one. Control characters become `?`.
    """
    console = _Console(highlight=False, soft_wrap=False)
    for line in lines:
        if isinstance(line, str):
            console.print(printable(line), markup=False, soft_wrap=True)
        else:
            console.print(line)


def short(value: float | None, digits: int = 3) -> str:
    """A number with `digits` significant digits, and with an exponent only if it needs one."""
    if value is None or not math.isfinite(value):
        return "-"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}"
    decimals = max(0, digits - 1 - (math.floor(math.log10(abs(value))) if value else 0))
    return f"{value:.{decimals}f}"


def size(num_bytes: float | None) -> str:
    """A size as `44.7 MB`."""
    return "-" if num_bytes is None else f"{num_bytes / 1e6:.1f} MB"


def percent(part: int | None, whole: int | None) -> str:
    """A share as `98.8 %`, or `no data`."""
    return f"{100 * part / whole:.1f} %" if part is not None and whole else "no data"
