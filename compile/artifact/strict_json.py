"""JSON without the liberties that parsers take, so that Python and the runner read the same.

Refused are: bytes that are not UTF-8, a byte-order mark, a key that an object holds twice, NaN and
infinity, a number beyond a double, half of a surrogate pair, and deep nesting.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def parse_object(text: bytes, *, depth: int) -> dict[str, Any]:
    """Return the one JSON object in `text`; ValueError says in words what is wrong with it.

    `depth` is how many objects and lists may lie inside each other, the outermost counted.
    """
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_number,
        )
        _check(value, depth)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError(f"it is nested deeper than {depth} levels") from None
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    holder = dict(pairs)
    if len(holder) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it holds the key {twice!r} twice")
    return holder


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is not JSON")


def _integer(digits: str) -> int:
    _number(digits)
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"it holds a number that no double holds: {digits[:20]}")
    return number


def _check(value: Any, depth: int) -> None:
    """ValueError where `value` is nested deeper than `depth`, or a text is not Unicode."""
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("it holds half of a surrogate pair")
        return
    if not isinstance(value, dict | list):
        return
    if depth == 0:
        raise ValueError("it is nested too deep")
    for entry in value:
        _check(entry, depth - 1)
    if isinstance(value, dict):
        for entry in value.values():
            _check(entry, depth - 1)
