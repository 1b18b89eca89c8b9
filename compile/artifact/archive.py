"""Look into a .pt2 or .ts archive before torch does.

torch's zip reader checks no names, no CRC and no sizes, and the .pt2 loader writes members to disk
under the names they carry. The runner holds archives to the same rules (docs/artifact.md, step 5).
"""

from __future__ import annotations

import struct
import zipfile
from typing import BinaryIO

from compile.errors import BadArtifact

MEMBER_LIMIT = 16 * 2**20
TOTAL_LIMIT = 64 * 2**20
_END_RECORD = b"PK\x05\x06"


def check_archive(stream: BinaryIO, name: str) -> None:
    """Raise BadArtifact unless the zip archive in `stream` follows the rules.

    `name` is the file's name in the artifact: a .ts may hold deflated text under `<stem>/code/`.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            _check_end(stream, name)
            for member in members:
                _check_member(stream, member, name)
            _check_extents(members, archive.start_dir, name)
    except (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError) as error:
        raise BadArtifact(f"{name} is not a sound zip archive: {error}") from None
    names = [member.orig_filename for member in members]
    if len(set(names)) != len(names):
        raise BadArtifact(f"{name} holds two members of one name")
    deflated = sum(m.file_size for m in members if m.compress_type != zipfile.ZIP_STORED)
    if deflated > TOTAL_LIMIT:
        raise BadArtifact(f"{name} unpacks to more than {TOTAL_LIMIT >> 20} MiB of text")


def check_relative(path: str, where: str) -> None:
    """Raise BadArtifact unless `path` stays inside the folder it is relative to."""
    if not is_plain(path):
        raise BadArtifact(f"{where} names the path {path!r}; only plain relative paths are allowed")


def is_plain(path: str) -> bool:
    """Whether a path is relative and plain: no `.`, `..`, empty part, backslash or control
    character.
    """
    if any(ord(character) < 32 or character in "\x7f\\" for character in path):
        return False
    return not {"", ".", ".."} & set(path.split("/"))


def _check_end(stream: BinaryIO, name: str) -> None:
    """The end record is the last thing in the file: nothing hides behind it."""
    stream.seek(-22, 2)
    record = stream.read(22)
    if record[:4] != _END_RECORD or record[20:] != b"\0\0":
        raise BadArtifact(f"{name} has bytes after its end record")


def _check_member(stream: BinaryIO, member: zipfile.ZipInfo, name: str) -> None:
    path = member.orig_filename
    check_relative(path, name)
    if _local_name(stream, member) != path:
        raise BadArtifact(f"{name}: the two headers of {path!r} disagree")
    if member.flag_bits & 0x1:
        raise BadArtifact(f"{name}: member {path!r} is encrypted")
    if member.compress_type == zipfile.ZIP_STORED:
        if member.file_size != member.compress_size:
            raise BadArtifact(f"{name}: the sizes of {path!r} disagree")
        return
    text = name.endswith(".ts") and path.split("/")[1:2] == ["code"]
    if member.compress_type != zipfile.ZIP_DEFLATED or not text:
        raise BadArtifact(f"{name}: member {path!r} is compressed; torch stores them")
    if member.file_size > MEMBER_LIMIT:
        raise BadArtifact(f"{name}: member {path!r} unpacks to over {MEMBER_LIMIT >> 20} MiB")


def _check_extents(members: list[zipfile.ZipInfo], directory: int, name: str) -> None:
    """Members lie one after the other, before the directory; none hides in another."""
    free = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        if member.header_offset < free:
            raise BadArtifact(f"{name}: members overlap at {member.orig_filename!r}")
        free = member.header_offset + 30 + len(member.orig_filename.encode()) + member.compress_size
    if free > directory:
        raise BadArtifact(f"{name}: a member runs into the directory")


def _local_name(stream: BinaryIO, member: zipfile.ZipInfo) -> str:
    """The name in the member's local header, which some readers believe instead."""
    stream.seek(member.header_offset)
    header = stream.read(30)
    (length,) = struct.unpack_from("<H", header, 26)
    encoding = "utf-8" if member.flag_bits & 0x800 else "cp437"
    return stream.read(length).decode(encoding)
