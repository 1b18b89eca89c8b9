"""Fetches an archive once, compares it with its known hash, and unpacks it whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from compile.files import abandoned, disk_errors, fsync_folder, held
from zoo.errors import BadArtifact, Unavailable

SAY_AFTER_S = 5.0
"""How often a long download prints its progress."""
TIMEOUT_S = 30.0
"""How long the server may be silent."""
_BLOCK = 1 << 20
_SMALL = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A .tar.gz with one folder in it."""

    url: str
    size: int
    """Bytes of the archive."""
    sha256: str
    folder: str
    """The folder in the archive. The unpacked folder has the same name."""
    files: Mapping[str, int | None]
    """Name in that folder -> size in bytes. None: a text of at most a mebibyte."""


def fetch(archive: Archive, root: Path, *, instead: str) -> Path:
    """Return `root`/`archive.folder`. Fetch it first if it is not there.

    The archive's sha256 is compared before anything is unpacked, and only the expected files are
    unpacked. They appear all at once, when they are on disk. Errors end with `instead`, which says
    what to do without a network. Raises Unavailable without a network or space on disk, and
    BadArtifact if the archive is not the expected one.
    """
    final = root / archive.folder
    if final.is_dir():
        return final
    with disk_errors(final):
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root, archive.folder)
        staged = Path(tempfile.mkdtemp(prefix=f".{archive.folder}.", suffix=".partial", dir=root))
    try:
        with held(staged), disk_errors(final):
            packed = staged / "archive.tar.gz"
            _download(archive, packed, instead)
            _unpack(archive, packed, staged / archive.folder)
            try:
                os.rename(staged / archive.folder, final)
            except OSError:
                if not final.is_dir():  # else another process was faster
                    raise
            fsync_folder(root)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return final


def _sweep(root: Path, folder: str) -> None:
    """Remove the folders that killed downloads left."""
    for left in root.glob(f".{folder}.*.partial"):
        if abandoned(left):
            shutil.rmtree(left, ignore_errors=True)


def _download(archive: Archive, target: Path, instead: str) -> None:
    megabytes = archive.size / 1e6
    print(f"zoo: fetching {archive.url} ({megabytes:.0f} MB)", file=sys.stderr)
    digest, size, said = hashlib.sha256(), 0, time.monotonic()
    with open(target, "wb") as file:
        try:
            with urllib.request.urlopen(archive.url, timeout=TIMEOUT_S) as answer:
                while block := answer.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
                    if size > archive.size:
                        break
                    _write(file, block, target)
                    if time.monotonic() - said > SAY_AFTER_S:
                        said = time.monotonic()
                        print(f"zoo: {size / 1e6:.0f} of {megabytes:.0f} MB", file=sys.stderr)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise Unavailable(f"cannot fetch {archive.url} ({reason}); {instead}") from None
    if digest.hexdigest() != archive.sha256:
        kind = "more" if size > archive.size else str(size)
        raise BadArtifact(
            f"{archive.url} gave {kind} bytes with sha256 {digest.hexdigest()}, but {archive.size} "
            f"with {archive.sha256} were expected; nothing was unpacked: try again, "
            f"or {instead}"
        )


def _write(file: IO[bytes], block: bytes, target: Path) -> None:
    """Write a block. A full disk must not look like a missing network."""
    with disk_errors(target):
        file.write(block)


def _unpack(archive: Archive, packed: Path, folder: Path) -> None:
    """Write the expected files of an archive to disk, and no others."""
    folder.mkdir()
    missing = dict(archive.files)
    try:
        with tarfile.open(packed, "r:gz") as tar:
            for member in tar:
                parent, _, name = member.name.removeprefix("./").partition("/")
                if parent != archive.folder or name not in missing or not member.isreg():
                    continue
                wanted = missing.pop(name)
                if member.size > _SMALL if wanted is None else member.size != wanted:
                    raise BadArtifact(f"{archive.url}: {name} has {member.size} bytes")
                source = tar.extractfile(member)
                assert source is not None  # it is a regular file
                with open(folder / name, "wb") as file:
                    shutil.copyfileobj(source, file, _BLOCK)
                    file.flush()
                    os.fsync(file.fileno())
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadArtifact(f"{archive.url} is not an archive: {error}") from None
    if missing:
        raise BadArtifact(f"{archive.url} lacks {', '.join(missing)}")
    fsync_folder(folder)
