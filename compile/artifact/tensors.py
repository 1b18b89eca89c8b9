"""golden.safetensors and every other file of plain tensors: written, and read with suspicion.

A file is 8 bytes of little-endian length, that many bytes of JSON, and the tensors' bytes. The
header is held to the rules of docs/artifact.md before the safetensors package sees the file; the
runner has the same rules and no package.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from compile.artifact.strict_json import parse_object
from compile.errors import BadArtifact

if TYPE_CHECKING:
    import torch

SUFFIX = ".safetensors"
NOTES = "__metadata__"
"""The key of a header that is not the name of a tensor."""

_MAX_HEADER = 2**20
_MAX_DEPTH = 8
_MAX_RANK = 9
"""The rows, and as many extents as an output may have."""

_CHUNK = 2**24
"""Bytes of values that are checked at a time."""

_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
_SIZES |= {"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}
"""Bytes of one value, by the dtype's name in the file."""

_TYPES = {"float32": "F32", "uint8": "U8", "float64": "F64", "int64": "I64"}

_CHECKED = {"float32": "<f4", "float64": "<f8", "int64": "<i8"}
"""The types whose values are checked, as numpy calls them."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A tensor that a file must hold."""

    dtype: str
    """`float32`, `uint8`, `float64` or `int64`."""
    shape: tuple[int, ...]
    below: int | None = None
    """Its values ascend, none twice, from 0 or more, and all are below this."""
    errors: bool = False
    """It holds errors, of which none is below 0."""


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write contiguous tensors under their names."""
    from safetensors.torch import save

    path.write_bytes(save(dict(tensors)))


def read_tensors(path: str, name: str) -> dict[str, torch.Tensor]:
    """Read a file whose header `check_tensors` has passed; `name` is its name for messages.

    Raises BadArtifact if a value is NaN or infinite.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise BadArtifact(f"{name} cannot be read: {error}") from None
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise BadArtifact(f"{name}: '{key}' holds NaN or infinity; all values must be finite")
    return tensors


def check_tensors(stream: BinaryIO, name: str, wanted: Mapping[str, Wanted] | None = None) -> None:
    """Raise BadArtifact unless the file keeps the format, and holds what is wanted and no more.

    What is wanted must be finite, and keep what `Wanted` says. Where nothing is wanted, only the
    header is read. `name` is the file's name for messages.
    """
    try:
        entries, size = _header(stream)
        for key, entry in entries.items():
            _check_entry(key, entry, size)
        _check_cover(entries, size)
    except ValueError as error:
        raise BadArtifact(f"{name} is not a sound safetensors file: {error}") from None
    if wanted is None:
        return
    if entries.keys() != wanted.keys():
        names = " and ".join(wanted)
        raise BadArtifact(f"{name} must hold {names}; it holds {' and '.join(entries) or 'none'}")
    for key, want in wanted.items():
        entry = entries[key]
        if (entry["dtype"], entry["shape"]) != (_TYPES[want.dtype], list(want.shape)):
            raise BadArtifact(
                f"{name}: '{key}' is {entry['dtype']} {entry['shape']}; the manifest wants "
                f"{_TYPES[want.dtype]} {list(want.shape)}"
            )
    for key, want in wanted.items():
        begin, end = entries[key]["data_offsets"]
        stream.seek(begin - size, 2)
        if (fault := _fault_in_values(stream, end - begin, want)) is not None:
            raise BadArtifact(f"{name}: '{key}' holds {fault}")


def _fault_in_values(stream: BinaryIO, left: int, want: Wanted) -> str | None:
    """What is wrong with the values in the next `left` bytes; None if they are sound."""
    import numpy as np

    before = -1
    while left > 0 and want.dtype in _CHECKED:
        values = np.frombuffer(stream.read(min(left, _CHUNK)), _CHECKED[want.dtype])
        left -= values.nbytes
        if not np.isfinite(values).all():
            return "NaN or infinity; all values must be finite"
        if want.errors and (values < 0).any():
            return "a value below 0; an error has none"
        if want.below is None:
            continue
        if values[0] <= before or (values[1:] <= values[:-1]).any() or values[-1] >= want.below:
            return f"positions that do not ascend from 0 or more to below {want.below}"
        before = values[-1]
    return None


def _header(stream: BinaryIO) -> tuple[dict[str, Any], int]:
    """The entries of the tensors, and how many bytes of data follow the header."""
    total = stream.seek(0, 2)
    stream.seek(0)
    start = stream.read(8)
    if len(start) < 8:
        raise ValueError("it has fewer than 8 bytes")
    (length,) = struct.unpack("<Q", start)
    if not 2 <= length <= min(_MAX_HEADER, total - 8):
        raise ValueError(f"its header claims {length} bytes")
    text = stream.read(length)
    if text[:1] != b"{":
        raise ValueError("its header does not start with {")
    entries = parse_object(text, depth=_MAX_DEPTH)
    notes = entries.pop(NOTES, {})
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise ValueError(f"{NOTES} must be an object of strings")
    return entries, total - 8 - length


def _check_entry(key: str, entry: Any, size: int) -> None:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{key!r} must have dtype, shape and data_offsets, nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _SIZES:
        raise ValueError(f"{key!r} has the unknown dtype {dtype!r}")
    if not _are_counts(shape) or len(shape) > _MAX_RANK:
        raise ValueError(f"{key!r} has the impossible shape {shape}")
    if not _are_counts(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= size:
        raise ValueError(f"{key!r} has the impossible offsets {offsets} in {size} bytes of data")
    if _bytes_of(shape, dtype) != offsets[1] - offsets[0]:
        raise ValueError(f"{key!r} needs another number of bytes than lie between its offsets")


def _bytes_of(shape: list[int], dtype: str) -> int:
    """The size of a tensor; -1 where a product on the way does not fit into 63 bits."""
    size = _SIZES[dtype]
    for extent in shape:
        size *= extent
        if size >= 2**63:
            return -1
    return size


def _are_counts(values: Any) -> bool:
    """Whether this is a list of integers from 0 up; True is not an integer."""
    return isinstance(values, list) and all(type(each) is int and each >= 0 for each in values)


def _check_cover(entries: Mapping[str, Any], size: int) -> None:
    """The tensors lie one after the other: no hole, no overlap, nothing behind the last."""
    free = 0
    for begin, end in sorted(entry["data_offsets"] for entry in entries.values()):
        if begin != free:
            raise ValueError(f"its tensors overlap or leave a hole at byte {min(begin, free)}")
        free = end
    if free != size:
        raise ValueError(f"{size - free} bytes lie behind its last tensor")
