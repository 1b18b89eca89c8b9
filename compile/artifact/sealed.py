"""A file's private copy in memory, verified and sealed: what was checked is what is loaded."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from compile.artifact.manifest import REBUILD
from compile.errors import BadArtifact, Unavailable
from compile.files import is_of_the_machine

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

_PAUSES_S = (0.01, 0.1, 0.5, 1.0, 2.0)
"""Between attempts to seal: the kernel itself may hold a page for a moment while it moves it."""


class SealedFile:
    """A private copy of a file in memory that nobody, not even we, can write to again."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def path(self) -> str:
        """A path that loaders can open as long as this object lives."""
        return f"/proc/self/fd/{self._descriptor}"

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)


def seal(folder: Path, name: str, size: int, sha256: str) -> SealedFile:
    """Copy a file into sealed memory; BadArtifact unless the copy has this size and hash."""
    where = folder / name
    try:
        if _goes_through_link(folder, where):
            raise BadArtifact(f"{where} is or goes through a symbolic link; {REBUILD}")
        source = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if is_of_the_machine(error):
            raise Unavailable(f"{where} cannot be read: {error.strerror}") from None
        raise BadArtifact(f"{where} cannot be read ({error.strerror}); {REBUILD}") from None
    if not stat.S_ISREG(os.fstat(source).st_mode):
        os.close(source)
        raise BadArtifact(f"{where} is not a regular file; {REBUILD}")
    with os.fdopen(source, "rb") as stream:
        state = os.fstat(source)
        if state.st_size != size:
            raise BadArtifact(f"{where} has {state.st_size} bytes, not {size}; {REBUILD}")
        copy = os.memfd_create(name.replace("/", "-"), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        sealed = SealedFile(copy)
        digest = hashlib.sha256()
        left = size
        while left > 0 and (block := stream.read(min(left, 2**22))):
            digest.update(block)
            os.write(copy, block)
            left -= len(block)
    freeze(copy, where)
    if left or digest.hexdigest() != sha256:
        raise BadArtifact(f"{where} does not match its sha256; {REBUILD}")
    return sealed


def freeze(copy: int, where: Path) -> None:
    """Make a file in memory immutable; Unavailable if something keeps it busy."""
    for pause_s in (0.0, *_PAUSES_S):
        time.sleep(pause_s)
        try:
            fcntl.fcntl(copy, fcntl.F_ADD_SEALS, _SEALS)
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
    raise Unavailable(
        f"{where}: the kernel keeps its copy in memory busy, so it cannot be sealed; try again"
    )


def _goes_through_link(folder: Path, where: Path) -> bool:
    """Whether a part of the path below `folder` is a symbolic link."""
    below = [where, *where.parents]
    return any(part.is_symlink() for part in below[: below.index(folder)])
