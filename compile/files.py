"""Writes files so that a reader sees the old content or the new, even after a crash."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from compile.errors import Unavailable, UsageError

_YOUNG_S = 1.0
"""A folder younger than this counts as in use: its maker may not have locked it yet."""


def write_atomic(path: str | Path, data: bytes) -> None:
    """Make `data` the content of `path`. The folder must exist.

    The data goes into a hidden file beside it, which is flushed to disk and then renamed. Raises
    UsageError if `path` exists and is not a regular file (a symbolic link, /dev/null, a folder),
    because renaming would replace the thing itself. Raises Unavailable without space or permission,
    or on a read-only file system.
    """
    path = Path(path)
    refuse_special(path)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with disk_errors(path):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(staged, flags, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(staged, path)
        except BaseException:
            with suppress(FileNotFoundError):
                staged.unlink()
            raise
        fsync_folder(path.parent)


def read_regular(path: str | Path, limit: int) -> bytes:
    """Return the bytes of a regular file of at most `limit` bytes.

    No link is followed, and nothing is read before the kind and the size are known: a FIFO, a
    device or a sparse file of any size is refused at once. Raises ValueError for these, OSError
    for what cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("is not a regular file")
        if state.st_size > limit:
            raise ValueError(f"has {state.st_size} bytes; at most {limit} are read")
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit)
    finally:
        os.close(descriptor)


_MACHINE_ERRORS = (errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_of_the_machine(error: OSError) -> bool:
    """Whether the machine keeps a file from being read, such as by its permissions.

    Other errors say that the file is not there or is something else: a socket, a device, or a name
    that no file can have.
    """
    return error.errno in _MACHINE_ERRORS


def refuse_special(path: Path) -> None:
    """Raise a UsageError if `path` exists and is not a regular file. Follows no link."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unavailable(path, error) from error
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
        raise UsageError(f"{path} is {kind}; give the path of a plain file")


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Lock a folder inside a `with` block. Others who want to hold it wait."""
    descriptor = hold(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def hold(folder: str | Path) -> int:
    """Lock a folder and return a descriptor. Waits while another process holds the folder.

    The lock ends when the descriptor is closed, or with the process.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def try_hold(folder: str | Path) -> int | None:
    """Lock a folder like `hold`. Return None at once if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def abandoned(folder: str | Path) -> bool:
    """Whether no process holds a folder, in any container: its maker has ended or was killed.

    A folder that was made a moment ago may not be held yet, so it counts as in use.
    """
    try:
        if time.time() - os.stat(folder).st_ctime < _YOUNG_S:
            return False
        descriptor = try_hold(folder)
    except OSError:
        return False
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


def fsync_folder(folder: str | Path) -> None:
    """Flush the entries of a folder to disk. Only then does a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turn an OSError inside the `with` block into Unavailable, with `path` and the cause."""
    try:
        yield
    except OSError as error:
        raise _unavailable(path, error) from error


def _unavailable(path: str | Path, error: OSError) -> Unavailable:
    reason = error.strerror or str(error)
    return Unavailable(
        f"cannot write {path}: {reason}; free space, fix permissions or name another place"
    )
