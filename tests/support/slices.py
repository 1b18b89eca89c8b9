"""Long suites: a slice of each runs with `just test`, all of it with `just test-all`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pytest


def first_of_kind(
    rows: Iterable[Any], kind: Callable[[Any], Hashable] = lambda row: row[0]
) -> list[Any]:
    """Rows for `parametrize`: the first of each kind runs always, the others are marked slow."""
    seen: set[Hashable] = set()
    found = []
    for row in rows:
        marks = [pytest.mark.slow] if kind(row) in seen else []
        seen.add(kind(row))
        found.append(pytest.param(*(row if isinstance(row, tuple) else [row]), marks=marks))
    return found
