"""Read one symbol's bytes out of a shared library: ELF for 64 bits, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_DYNAMIC_SYMBOLS = 11
"""Type of the section that lists the symbols a library shows (SHT_DYNSYM)."""


class _Header(NamedTuple):
    """The start of the file (Elf64_Ehdr)."""

    ident: bytes
    type: int
    machine: int
    version: int
    entry: int
    programs_at: int
    sections_at: int
    """Where the table of sections begins in the file."""
    flags: int
    header_size: int
    program_size: int
    num_programs: int
    section_size: int
    """Bytes of one row of the table of sections."""
    num_sections: int
    names_index: int


class _Section(NamedTuple):
    """A row of the table of sections (Elf64_Shdr)."""

    name: int
    type: int
    flags: int
    address: int
    """Where it lies in memory."""
    at: int
    """Where it begins in the file."""
    size: int
    link: int
    """Of a list of symbols: the index of the section that holds their names."""
    info: int
    alignment: int
    entry_size: int


class _Symbol(NamedTuple):
    """An entry of a list of symbols (Elf64_Sym)."""

    name: int
    """Where its name begins in the section of names."""
    info: int
    other: int
    section: int
    address: int
    size: int


_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")


def between(library: bytes, start: str, end: str) -> bytes | None:
    """Return the bytes from the symbol `start` to the symbol `end`; None if one is missing."""
    sections = list(_sections(library))
    addresses = dict(_addresses(library, sections))
    if start not in addresses or end not in addresses:
        return None
    first, last = addresses[start], addresses[end]
    for section in sections:
        if section.address <= first < section.address + section.size:
            at = section.at + first - section.address
            return library[at : at + last - first]
    return None


def _sections(library: bytes) -> Iterator[_Section]:
    header = _Header(*_HEADER.unpack_from(library))
    for index in range(header.num_sections):
        at = header.sections_at + index * header.section_size
        yield _Section(*_SECTION.unpack_from(library, at))


def _addresses(library: bytes, sections: list[_Section]) -> Iterator[tuple[str, int]]:
    """Name and address of each symbol that the library shows."""
    for section in sections:
        if section.type != _DYNAMIC_SYMBOLS:
            continue
        names = sections[section.link]
        strings = library[names.at : names.at + names.size]
        for at in range(section.at, section.at + section.size, _SYMBOL.size):
            symbol = _Symbol(*_SYMBOL.unpack_from(library, at))
            end = strings.index(b"\0", symbol.name)
            yield strings[symbol.name : end].decode(), symbol.address
