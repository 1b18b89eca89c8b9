"""The artifact folder: open it verified, stage it, publish it whole. docs/artifact.md says how.

Nothing here loads a program. What `open_artifact` hands out are sealed copies in memory whose
hashes were compared, so nothing can change between the check and the load.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile import machine
from compile.archive import check_archive
from compile.backends.base import InputSpec, ProgramFile
from compile.errors import BadArtifact, Unavailable
from compile.files import abandoned, held
from compile.manifest import (
    GRAPH,
    MANIFEST,
    MANIFEST_HASH,
    REBUILD,
    Manifest,
    read_manifest,
)

_ARCHIVES = (".pt2", ".ts", ".pt")
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_PAUSES_S = (0.01, 0.1, 0.5, 1.0, 2.0)
"""Between attempts to seal: the kernel itself may hold a page for a moment while it moves it."""
_PLACE = re.compile(r"[^/.][^/]*-[0-9a-f]{8}/[a-z-]+-[a-z0-9]+-b[0-9][^/]*")
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
_AT_FDCWD = -100


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


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A verified artifact: its manifest and sealed copies of its files."""

    path: Path
    manifest: Manifest
    files: dict[str, SealedFile]

    @property
    def programs(self) -> list[ProgramFile]:
        """The manifest's programs."""
        return [
            ProgramFile(
                file=entry["file"],
                batch=(entry["batch"][0], entry["batch"][1]),
                entry=entry.get("entry"),
            )
            for entry in self.manifest["programs"]
        ]

    @property
    def input(self) -> InputSpec:
        """What every program takes."""
        return input_of(self.manifest)

    @property
    def name(self) -> str:
        """`<model>-<sha8>/<backend>-<precision>-b<batch>-<device>`."""
        return f"{self.path.parent.name}/{self.path.name}"


def input_of(manifest: Manifest) -> InputSpec:
    """What every program of a manifest takes."""
    entry = manifest["inputs"][0]
    first, second, third = entry["shape"]
    return InputSpec(dtype=entry["dtype"], shape=(first, second, third))


def open_artifact(path: Path) -> Artifact:
    """Open an artifact by the six steps of docs/artifact.md.

    Raises BadArtifact (damaged, or made for something else) or Unavailable (this machine lacks
    something that can be installed). Nothing has been loaded then.
    """
    artifact = verify_artifact(path)
    check_requirements(artifact.manifest, path)
    return artifact


def verify_artifact(path: Path) -> Artifact:
    """The first five steps: whether the artifact is sound, on whatever machine it is to run.

    Raises BadArtifact when it is damaged.
    """
    manifest = read_manifest(path)
    files = {}
    for name, entry in manifest["files"].items():
        files[name] = _seal(path, name, entry["size"], entry["sha256"])
        if name.endswith(_ARCHIVES):
            with open(files[name].path, "rb") as stream:
                check_archive(stream, name)
    return Artifact(path=path, manifest=manifest, files=files)


def open_graph(artifact: Artifact) -> SealedFile:
    """The exported graph that the program was compiled from, verified as the files are.

    It is no file of the program: no reader that only runs it copies or hashes it. Raises
    BadArtifact where the artifact holds none.
    """
    entry = artifact.manifest.get("graph")
    if entry is None:
        raise BadArtifact(
            f"{artifact.path} keeps no exported graph; build it anew: "
            f"{artifact.manifest['build']['command']} --force"
        )
    sealed = _seal(artifact.path, entry["file"], entry["size"], entry["sha256"])
    with open(sealed.path, "rb") as stream:
        check_archive(stream, entry["file"])
    return sealed


def check_requirements(manifest: Manifest, path: Path) -> None:
    """Step 6: raise unless this machine is one the artifact was built for."""
    needs = manifest["requirements"]
    have = machine.package_version("torch")
    if needs["torch"] is not None and needs["torch"] != have:
        raise BadArtifact(
            f"{path} was built for torch {needs['torch']}, here is {have}; rebuild it here"
        )
    lacking = sorted(set(needs["isa"]) - machine.cpu_flags())
    if lacking:
        raise BadArtifact(
            f"this CPU lacks {', '.join(lacking)}, which {path} (target "
            f"{manifest['target']['name']}) needs; rebuild it here"
        )
    if manifest["device"] == "cuda":
        _check_gpu(needs["gpu_arch"], path)


def _check_gpu(built_for: str | None, path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        raise Unavailable(f"{path} needs an NVIDIA GPU with its driver; this machine has none")
    major, minor = torch.cuda.get_device_capability()
    here = f"sm_{major}{minor}"
    if built_for is None or built_for == here:
        return
    oldest = re.fullmatch(r"sm_([0-9]{2,3})\+", built_for)
    if oldest is None or 10 * major + minor < int(oldest[1]):
        raise BadArtifact(f"{path} was built for {built_for}, here is {here}; rebuild")


def _seal(folder: Path, name: str, size: int, sha256: str) -> SealedFile:
    """Copy a file into sealed memory; BadArtifact unless the copy has this size and hash."""
    where = folder / name
    if _goes_through_link(folder, where):
        raise BadArtifact(f"{where} is or goes through a symbolic link; {REBUILD}")
    try:
        source = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        raise Unavailable(f"{where} may not be read: check its permissions") from None
    except OSError as error:
        raise BadArtifact(f"{where} cannot be read ({error.strerror}); {REBUILD}") from None
    with os.fdopen(source, "rb") as stream:
        if os.fstat(source).st_size != size:
            raise BadArtifact(
                f"{where} has {os.fstat(source).st_size} bytes, not {size}; {REBUILD}"
            )
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
    """Make a file in memory immutable; Unavailable where something keeps it busy."""
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
    """Return the manifest's `graph` for a staging folder; None where no graph was kept."""
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

    Where something stands there already, the two are exchanged, so that a reader sees the old
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
    found = [*root.glob(".staging-*"), *root.glob("*/.staging-*")]
    return [path for path in found if path.is_dir() and abandoned(path)]


def find_artifacts(root: Path) -> list[Path]:
    """Return the artifact folders below `root`, sorted: by their names, so damaged ones too."""
    found = (path for path in root.glob("*-????????/*-*-b*") if path.is_dir())
    return sorted(path for path in found if _PLACE.fullmatch(f"{path.parent.name}/{path.name}"))
