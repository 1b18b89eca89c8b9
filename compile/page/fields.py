"""Values of a JSON document. What is missing or has another type is None, or empty."""

from __future__ import annotations

import math
from typing import Any

Json = dict[str, Any]

MOST = 1e15
"""No time, size or rate is as large."""


def number(holder: Any, *path: str) -> float | None:
    """The finite number at `path`; None if there is none. A truth value is not a number."""
    value = _at(holder, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def positive(holder: Any, *path: str) -> float | None:
    """The number at `path` if a time, a size or a rate can be that: above 0, and not absurd."""
    value = number(holder, *path)
    return value if value is not None and 1 / MOST < value < MOST else None


def text(holder: Any, *path: str) -> str | None:
    """The text at `path`; None if there is none, or an empty one."""
    value = _at(holder, path)
    return value if isinstance(value, str) and value else None


def truth(holder: Any, *path: str) -> bool | None:
    """The truth value at `path`."""
    value = _at(holder, path)
    return value if isinstance(value, bool) else None


def mapping(holder: Any, *path: str) -> Json:
    """The object at `path`."""
    value = _at(holder, path)
    return value if isinstance(value, dict) else {}


def objects(holder: Any, *path: str) -> list[Json]:
    """The objects in the list at `path`; what else it holds is left out."""
    value = _at(holder, path)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts(holder: Any, *path: str) -> tuple[str, ...]:
    """The texts in the list at `path`."""
    value = _at(holder, path)
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def numbers(holder: Any, *path: str) -> tuple[float, ...]:
    """The finite numbers in the list at `path`."""
    value = _at(holder, path)
    found = (number({"": each}, "") for each in value) if isinstance(value, list) else ()
    return tuple(each for each in found if each is not None)


def _at(holder: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        holder = holder.get(key) if isinstance(holder, dict) else None
    return holder
