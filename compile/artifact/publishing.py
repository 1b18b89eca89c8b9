"""Publish an artifact whole: stage it in a folder beside its place, flush it, move it there."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from compile.artifact.manifest import GRAPH, MANIFEST, MANIFEST_HASH
from compile.errors import Unavailable
from compile.files import abandoned, held

_PLACE = re.compile(r"[^/.][^/]*-[0-9a-f]{8}/[a-z-]+-[a-z0-9]+-b[0-9][^/]*")

_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
_AT_FDCWD = -100


def file_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest's `files` for a staging folder: all but the manifest, its hash and the
    exported graph, which has an entry of its own.
    """
    entries = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (MANIFEST, MANIFEST_HASH, GRAPH):
            entries[name] = _entry(path)
    return entries


def graph_entry(folder: Path) -> dict[str, Any] | None:
    """Return the manifest's `graph` for a staging folder; None if no graph was kept."""
    path = folder / GRAPH
    return {"file": GRAPH, **_entry(path)} if path.is_file() else None


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


@contextmanager
def staging(final: Path, *, option: str = "--out DIR") -> Iterator[Path]:
    """Give an empty folder beside `final`; it is gone afterwards, published or not.

    Raises Unavailable when the place cannot be written. Folders that a killed build left are
    removed: their names carry the process id.
    """
    if final.is_symlink() or (final.exists() and not final.is_dir()):
        raise Unavailable(f"{final} is a file or a link; give another {option}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        for left in stale_stagings(final.parent):
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f".staging-{os.getpid()}-", dir=final.parent))
    except OSError as error:
        raise Unavailable(
            f"cannot write below {final.parent} ({error.strerror}); choose {option}"
        ) from None
    folder.chmod(0o755)
    try:
        with held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it is not empty: others build there, or have built
            final.parent.rmdir()


def publish(folder: Path, final: Path, *, option: str = "--out DIR") -> None:
    """Flush a staged artifact to disk and move it into place in one step.

    If something is there already, the two are exchanged, so that a reader sees the old
    one or the new one; the old one, now in staging, goes with the staging folder.
    """
    try:
        for path in (*folder.rglob("*"), folder):
            _flush(path)
        if not _rename(folder, final, _RENAME_NOREPLACE):
            _rename(folder, final, _RENAME_EXCHANGE)
        _flush(final.parent)
    except OSError as error:
        raise Unavailable(f"cannot publish {final} ({error.strerror}); choose {option}") from None


def withdraw(final: Path) -> None:
    """Remove a published artifact in one step, so that no reader sees half of it.

    Raises Unavailable if the folder cannot be written.
    """
    with staging(final) as folder:
        try:
            final.rename(folder / final.name)
        except OSError as error:
            raise Unavailable(f"cannot remove {final} ({error.strerror})") from None


def _rename(source: Path, target: Path, flag: int) -> bool:
    """renameat2; False when NOREPLACE met something in the target's place."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
        return True
    code = ctypes.get_errno()
    if code == errno.EEXIST and flag == _RENAME_NOREPLACE:
        return False
    raise OSError(code, os.strerror(code), str(target))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stale_stagings(root: Path) -> list[Path]:
    """Staging folders below `root` that no running build holds."""
    stagings = [*root.glob(".staging-*"), *root.glob("*/.staging-*")]
    return [path for path in stagings if path.is_dir() and abandoned(path)]


def find_artifacts(root: Path) -> list[Path]:
    """Return the artifact folders below `root`, sorted: by their names, so damaged ones too."""
    folders = (path for path in root.glob("*-????????/*-*-b*") if path.is_dir())
    return sorted(path for path in folders if _PLACE.fullmatch(f"{path.parent.name}/{path.name}"))
