"""The bytes of .safetensors, written by hand so that they may lie and depend on no package."""

from __future__ import annotations

import json
import struct
from typing import Any


def safetensors(entries: Any, data: bytes, *, pad: int = 0) -> bytes:
    """A file with this header, which may be any JSON or text."""
    text = entries if isinstance(entries, str) else json.dumps(entries)
    header = text.encode() + b" " * pad
    return struct.pack("<Q", len(header)) + header + data


def entry(dtype: str, shape: list[Any], begin: float, end: float) -> dict[str, Any]:
    """One tensor of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
