"""Writes tests/data/tensors: small files of tensors that must be read, and ones that lie.

    python -m tests.support.make_tensors

Both readers walk the .safetensors; the .npy are zoo-run's --input, whose reader is in C++ alone.
"""

from __future__ import annotations

import json
import struct

from tests.support import make_golden
from tests.support.layout import ROOT
from tests.support.make_manifests import write
from tests.support.tensor_bytes import entry, safetensors

FOLDER = ROOT / "tests" / "data" / "tensors"


_WIDTHS = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
_WIDTHS |= {"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}

_A = entry("F32", [2], 0, 8)
_B = entry("F64", [1, 1], 8, 16)


def _every_dtype() -> bytes:
    entries, start = {}, 0
    for dtype, width in _WIDTHS.items():
        entries[dtype] = entry(dtype, [2], start, start + 2 * width)
        start += 2 * width
    return safetensors(entries, bytes(start))


SOUND: dict[str, bytes] = {
    "two.safetensors": safetensors({"a": _A, "b": _B}, bytes(16)),
    "another-order.safetensors": safetensors({"b": _B, "a": _A}, bytes(16)),
    "every-dtype.safetensors": _every_dtype(),
    "padded-header.safetensors": safetensors({"a": _A}, bytes(8), pad=7),
    "metadata.safetensors": safetensors({"__metadata__": {"made": "by hand"}, "a": _A}, bytes(8)),
    "no-dimension.safetensors": safetensors({"a": entry("F32", [], 0, 4)}, bytes(4)),
    "no-values.safetensors": safetensors({"a": entry("F32", [0, 3], 0, 0), "b": _A}, bytes(8)),
    "nothing.safetensors": safetensors({}, b""),
    "shape-of-nine.safetensors": safetensors({"a": entry("F32", [1] * 8 + [2], 0, 8)}, bytes(8)),
}

FORGED: dict[str, bytes] = {
    "claims-more-than-it-holds.safetensors": safetensors({"a": entry("F32", [4], 0, 16)}, bytes(8)),
    "bytes-behind-the-last.safetensors": safetensors({"a": _A}, bytes(9)),
    "hole.safetensors": safetensors({"a": _A, "b": entry("F64", [1], 9, 17)}, bytes(17)),
    "overlap.safetensors": safetensors({"a": _A, "b": entry("F64", [1], 4, 12)}, bytes(12)),
    "same-bytes-twice.safetensors": safetensors({"a": _A, "b": _A}, bytes(8)),
    "offsets-backwards.safetensors": safetensors({"a": entry("F32", [2], 8, 0)}, bytes(8)),
    "offsets-below-zero.safetensors": safetensors({"a": entry("F32", [2], -8, 0)}, bytes(8)),
    "offsets-of-three.safetensors": safetensors({"a": {**_A, "data_offsets": [0, 8, 8]}}, bytes(8)),
    "offsets-not-integers.safetensors": safetensors({"a": entry("F32", [2], 0.0, 8.0)}, bytes(8)),
    "shape-another-size.safetensors": safetensors({"a": entry("F32", [3], 0, 8)}, bytes(8)),
    "shape-below-zero.safetensors": safetensors({"a": entry("F32", [-1, -2], 0, 8)}, bytes(8)),
    "shape-of-ten.safetensors": safetensors({"a": entry("F32", [1] * 9 + [2], 0, 8)}, bytes(8)),
    "shape-overflows.safetensors": safetensors({"a": entry("F32", [2**62, 4, 2], 0, 8)}, bytes(8)),
    "shape-overflows-to-nothing.safetensors": safetensors(
        {"a": entry("F32", [2**62, 2**62, 0], 0, 0)}, b""
    ),
    "shape-true.safetensors": safetensors({"a": entry("F32", [True, 2], 0, 8)}, bytes(8)),
    "dtype-unknown.safetensors": safetensors({"a": entry("F8", [8], 0, 8)}, bytes(8)),
    "dtype-missing.safetensors": safetensors(
        {"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)
    ),
    "key-unknown.safetensors": safetensors({"a": {**_A, "strides": [1]}}, bytes(8)),
    "name-twice.safetensors": safetensors(
        f'{{"a": {json.dumps(_A)}, "a": {json.dumps(_A)}}}', bytes(8)
    ),
    "metadata-of-numbers.safetensors": safetensors(
        {"__metadata__": {"made": 1}, "a": _A}, bytes(8)
    ),
    "metadata-a-text.safetensors": safetensors({"__metadata__": "made", "a": _A}, bytes(8)),
    "entry-a-list.safetensors": safetensors({"a": ["F32", [2], [0, 8]]}, bytes(8)),
    "header-a-list.safetensors": safetensors([_A], bytes(8)),
    "header-a-space-first.safetensors": safetensors(f' {{"a": {json.dumps(_A)}}}', bytes(8)),
    "header-not-json.safetensors": safetensors('{"a"', bytes(8)),
    "header-zero-byte.safetensors": safetensors(f'{{"a": {json.dumps(_A)}}}\0', bytes(8)),
    "header-nested-deep.safetensors": safetensors('{"a": ' + 9 * "[" + 9 * "]" + "}", b""),
    "header-beyond-the-file.safetensors": struct.pack("<Q", 100) + b"{}",
    "header-of-2-to-the-63.safetensors": struct.pack("<Q", 2**63) + b"{}",
    "header-of-one-byte.safetensors": struct.pack("<Q", 1) + b"{",
    "seven-bytes.safetensors": bytes(7),
    "empty.safetensors": b"",
}


def npy(header: str, data: bytes, *, version: int = 1, pad: bool = True) -> bytes:
    """A .npy file with this header, padded as numpy pads it."""
    width = 2 if version == 1 else 4
    text = header.encode("latin1" if version < 3 else "utf-8")
    if pad:
        text += b" " * (-(len(text) + 1 + 8 + width) % 64) + b"\n"
    length = struct.pack("<H" if width == 2 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def described(descr: str, shape: str, *, order: str = "False", more: str = "") -> str:
    """The header of an array."""
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {more}}}"


_HEADER = described("'<f4'", "(2, 3)")

SOUND |= {
    "float32.npy": npy(_HEADER, bytes(24)),
    "float64.npy": npy(described("'<f8'", "(3,)"), bytes(24)),
    "bytes.npy": npy(described("'|u1'", "(2, 2, 2)"), bytes(8)),
    "version-2.npy": npy(_HEADER, bytes(24), version=2),
    "version-3.npy": npy(_HEADER, bytes(24), version=3),
    "no-dimension.npy": npy(described("'<f4'", "()"), bytes(4)),
    "no-values.npy": npy(described("'<f4'", "(0, 3)"), b""),
    "keys-in-another-order.npy": npy(
        "{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}", bytes(8)
    ),
}

FORGED |= {
    "claims-more-than-it-holds.npy": npy(described("'<f4'", "(1000, 3)"), bytes(24)),
    "bytes-behind-the-last.npy": npy(_HEADER, bytes(25)),
    "big-endian.npy": npy(described("'>f4'", "(2, 3)"), bytes(24)),
    "integers.npy": npy(described("'<i4'", "(2, 3)"), bytes(24)),
    "float16.npy": npy(described("'<f2'", "(2, 3)"), bytes(12)),
    "objects.npy": npy(described("'|O'", "(1,)"), b"\x80\x02N."),
    "records.npy": npy(described("[('a', '<f4')]", "(2,)"), bytes(8)),
    "columns-first.npy": npy(described("'<f4'", "(2, 3)", order="True"), bytes(24)),
    "shape-below-zero.npy": npy(described("'<f4'", "(-2, -3)"), bytes(24)),
    "shape-overflows.npy": npy(described("'<f4'", f"({2**62}, 4, 2)"), bytes(8)),
    "shape-of-ten.npy": npy(described("'<f4'", f"({'1, ' * 9}2)"), bytes(8)),
    "shape-a-list.npy": npy(described("'<f4'", "[2, 3]"), bytes(24)),
    "shape-a-number.npy": npy(described("'<f4'", "(6)"), bytes(24)),
    "key-missing.npy": npy("{'descr': '<f4', 'shape': (2, 3), }", bytes(24)),
    "key-more.npy": npy(described("'<f4'", "(2, 3)", more="'strides': (1, 2), "), bytes(24)),
    "key-twice.npy": npy(described("'<f4'", "(2, 3)", more="'shape': (2, 3), "), bytes(24)),
    "code-in-the-header.npy": npy(described("'<f4'", "(2, __import__('os'))"), bytes(24)),
    "text-behind-the-header.npy": npy(_HEADER + "x", bytes(24)),
    "not-a-dict.npy": npy("('<f4', False, (2, 3))", bytes(24)),
    "magic-another.npy": b"\x93NUMPX" + npy(_HEADER, bytes(24))[6:],
    "version-4.npy": npy(_HEADER, bytes(24), version=4),
    "header-beyond-the-file.npy": b"\x93NUMPY\x01\x00\xff\xff" + _HEADER.encode(),
    "truncated.npy": npy(_HEADER, bytes(24))[:40],
    "empty.npy": b"",
}


def files() -> dict[str, bytes]:
    """Every file of the corpus: its path below FOLDER, and its bytes."""
    sound = {f"sound/{name}": content for name, content in SOUND.items()}
    forged = {f"forged/{name}": content for name, content in FORGED.items()}
    return {**sound, **forged, **make_golden.files()}


if __name__ == "__main__":
    write(FOLDER, files())
