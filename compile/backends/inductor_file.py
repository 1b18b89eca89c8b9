"""What lies in a .pt2 of AOTInductor: its constants, what is known of each, and its members."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compile.artifact.programs import ProgramFile
from compile.backends import elf
from compile.errors import CheckFailed

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Constant:
    """One constant of a program, as the wrapper's source in the package describes it."""

    name: str
    """Its name in the program."""
    original: str
    """Its name in the exported graph, by which the loader knows it."""
    dtype: str
    """torch's name of its type, such as `float32`."""
    bytes: int
    """Its size in the file, padded to 64 bytes by newer versions of torch."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    packed: bool
    """Whether it is in a layout of oneDNN's own."""
    folded: bool
    """Whether it is computed when the program is loaded. Then the file holds no bytes of it."""


_CONSTANT = re.compile(
    r'constants_info_\[(?P<i>\d+)\]\.name = "(?P<name>[^"]*)";'
    r".*?\.dtype = cached_torch_dtype_(?P<dtype>\w+);"
    r".*?\.data_size = (?P<bytes>\d+);"
    r".*?\.from_folded = (?P<folded>\w+);"
    r".*?\.shape = \{(?P<shape>[^}]*)\};"
    r".*?\.stride = \{(?P<stride>[^}]*)\};"
    r".*?\.layout = static_cast<int32_t>\(cached_torch_layout_(?P<layout>\w+)\);"
    r'.*?\.original_fqn = "(?P<original>[^"]*)";',
    re.DOTALL,
)


def layout(path: str) -> list[Constant]:
    """The constants of a program, in the order of the file."""
    source = member(path, ".wrapper.cpp").decode()
    return [
        Constant(
            name=match["name"],
            original=match["original"],
            dtype=match["dtype"],
            bytes=int(match["bytes"]),
            shape=_sizes(match["shape"]),
            stride=_sizes(match["stride"]),
            packed=match["layout"] == "_mkldnn",
            folded=match["folded"] == "true",
        )
        for match in _CONSTANT.finditer(source)
    ]


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size.strip())


def stored(path: str) -> Iterator[tuple[Constant, torch.Tensor]]:
    """Each constant that lies in the file, with its bytes (N,)."""
    import torch

    whole = torch.frombuffer(bytearray(blob(path)), dtype=torch.uint8)
    at = 0
    for row in layout(path):
        if not row.folded:
            yield row, whole[at : at + row.bytes]
            at += (row.bytes + 63) // 64 * 64  # AOTInductor aligns constants to 64 bytes


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """The constants as they lie in the shared library, packed ones as a flat run of values.

    oneDNN's packed layouts permute and zero-pad the values and change none, which is all that a
    comparison of sorted values needs.
    """
    import torch

    del program
    for row, data in stored(path):
        dtype = getattr(torch, row.dtype)
        flat = [1] * (len(row.shape) - 1) + [-1]
        if dtype.is_floating_point:
            yield data.view(dtype).reshape(flat)
        elif dtype == torch.int8:
            for end in _ends_of_weights(row):
                yield data[:end].view(dtype).reshape(flat)


def _ends_of_weights(row: Constant) -> list[int]:
    """Where the weights in an int8 constant may end.

    To a packed one oneDNN appends an int32 for each output channel, padded to a block, where
    activations have a zero point. Whether it did is not written down, so all ends are offered to
    the comparison.
    """
    if not row.packed:
        return [row.bytes]
    padded = {size + -size % block for size in row.shape[:2] for block in (16, 32, 48, 64)}
    ends = (row.bytes - 4 * channels for channels in padded)
    return [row.bytes, *sorted(end for end in ends if end > 0)]


def has_member(path: str, suffix: str) -> bool:
    """Whether the package holds a member whose name ends so."""
    with zipfile.ZipFile(path) as package:
        return any(name.endswith(suffix) for name in package.namelist())


def member(path: str, suffix: str) -> bytes:
    """The first member whose name ends so; CheckFailed if there is none."""
    with zipfile.ZipFile(path) as package:
        for name in package.namelist():
            if name.endswith(suffix):
                return package.read(name)
    raise CheckFailed(f"the .pt2 holds no {suffix}; this torch packages it in another form")


def blob(path: str) -> bytes:
    """The constants of all layers, one after the other, out of the package's shared library."""
    symbol = "_binary_constants_bin_{}"
    found = elf.between(member(path, ".so"), symbol.format("start"), symbol.format("end"))
    if found is None:
        raise CheckFailed("the shared library in the .pt2 holds no constants")
    return found
