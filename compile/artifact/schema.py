"""The part of JSON Schema that manifest.schema.json uses. The runner has a twin, schema.cpp.

Both visit keywords in the same order and stop at the first fault, so they name the same field. Two
rules differ from JSON Schema: 1.0 is not an integer, and a pattern must match the whole text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from compile.errors import printable

Schema = Mapping[str, Any]

_NOTES = {"$schema", "title", "description", "$defs", "x-suffixes"}
"""Keywords that say nothing about a value."""

_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


@cache
def manifest_schema() -> Schema:
    """The schema of manifest.json, as it lies beside this file."""
    return json.loads(Path(__file__).with_name("manifest.schema.json").read_text())


def first_fault(value: Any, schema: Schema) -> str | None:
    """The first way in which `value` breaks `schema`, with its path; None if it keeps it.

    Raises ValueError for a keyword that this interpreter does not know.
    """
    return next(_faults(value, schema, "", schema.get("$defs", {})), None)


def _faults(value: Any, schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    unknown = schema.keys() - _KNOWN
    if unknown:
        raise ValueError(f"the schema uses unknown keywords: {', '.join(sorted(unknown))}")
    for keywords, check in _CHECKS:
        if keywords & schema.keys():
            yield from check(value, schema, path, defs)


def _ref(value: Any, schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    name = schema["$ref"].removeprefix("#/$defs/")
    yield from _faults(value, defs[name], path, defs)


def _any_of(value: Any, schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    faults = [next(_faults(value, each, path, defs), None) for each in schema["anyOf"]]
    if None not in faults:
        yield str(faults[0])


def _type(value: Any, schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    del defs
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_TYPES[name](value) for name in names):
        is_ = next(name for name, applies in _TYPES.items() if applies(value))
        yield f"{path} must be of type {' or '.join(names)}, it is {is_}"


def _values(value: Any, schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    """`enum` and `const`, whose values are texts."""
    del defs
    allowed = schema.get("enum", [schema.get("const")])
    if not isinstance(value, str) or value not in allowed:
        yield f"{path} must be {' or '.join(allowed)}, it is {_shown(value)}"


def _length(value: Any, schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    """`minLength` and `maxLength`, in code points, then `pattern`."""
    del defs
    if not isinstance(value, str):
        return
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if len(value) < least or (most is not None and len(value) > most):
        end = f" to {most}" if most is not None else " or more"
        yield f"{path} must have {least}{end} characters, it has {len(value)}"
    elif not re.fullmatch(schema.get("pattern", "(?s).*"), value):
        yield f"{path} must match {schema['pattern']}, it is {_shown(value)}"


def _range(value: Any, schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    del defs
    if not _TYPES["number"](value):
        return
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{path} must be at least {schema['minimum']}, it is {value}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"{path} must be at most {schema['maximum']}, it is {value}"


def _items(value: Any, schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    """`minItems` and `maxItems`, then `items`."""
    if not isinstance(value, list):
        return
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if len(value) < least or (most is not None and len(value) > most):
        end = f" to {most}" if most is not None else " or more"
        yield f"{path} must have {least}{end} entries, it has {len(value)}"
    elif "items" in schema:
        for index, entry in enumerate(value):
            yield from _faults(entry, schema["items"], f"{path}[{index}]", defs)


def _properties(value: Any, schema: Schema, path: str, defs: Schema) -> Iterator[str]:
    """`required`, then `properties`, then `additionalProperties`."""
    if not isinstance(value, dict):
        return
    at = f"{path}." if path else ""
    properties = schema.get("properties", {})
    yield from (f"{at}{key} is missing" for key in schema.get("required", ()) if key not in value)
    for key, inner in properties.items():
        if key in value:
            yield from _faults(value[key], inner, f"{at}{key}", defs)
    if "additionalProperties" in schema:
        for key in sorted(value.keys() - properties.keys()):
            inner = f"{at}{printable(key)}"
            yield from _faults(value[key], schema["additionalProperties"], inner, defs)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_CHECKS: tuple[tuple[set[str], Callable[[Any, Schema, str, Schema], Iterator[str]]], ...] = (
    ({"$ref"}, _ref),
    ({"anyOf"}, _any_of),
    ({"type"}, _type),
    ({"enum", "const"}, _values),
    ({"minLength", "maxLength", "pattern"}, _length),
    ({"minimum", "maximum"}, _range),
    ({"minItems", "maxItems", "items"}, _items),
    ({"required", "properties", "additionalProperties"}, _properties),
)
"""The keywords of each check, in the order in which they are looked at."""

_KNOWN = _NOTES.union(*(keywords for keywords, _ in _CHECKS))
