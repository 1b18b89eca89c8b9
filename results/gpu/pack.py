"""`just gpu-pack`: put what zoo-run is built with into build/gpu-pack.

A machine with a GPU may have a compiler and nothing to install from. Headers and a few libraries
are copied from this machine, and `cmake -DZOO_DEPENDENCIES_DIR=build/gpu-pack` builds with them
there. The folder is ignored by git.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from compile import machine
from compile.errors import Unavailable, ZooError

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "build" / "gpu-pack"
LARGEST_BYTES = 64 << 20
"""What a machine is lent with may take so much and no more."""
LABEL = "packed.json"


@dataclass(frozen=True, kw_only=True)
class Library:
    """What zoo-run is built with."""

    header: str
    """A header that everyone who has the library has."""
    files: tuple[str, ...] = ()
    """What is linked: static, so that it need not be found again; only the allocator is shared."""
    package: str
    """Debian's."""

    @property
    def folder(self) -> str:
        """The folder below include/ that holds its headers."""
        return self.header.partition("/")[0]


LIBRARIES = (
    Library(header="nlohmann/json.hpp", package="nlohmann-json3-dev"),
    Library(header="CLI/CLI.hpp", package="libcli11-dev"),
    Library(
        header="gtest/gtest.h", files=("libgtest.a", "libgtest_main.a"), package="libgtest-dev"
    ),
    Library(header="openssl/evp.h", files=("libcrypto.a",), package="libssl-dev"),
    Library(
        header="gperftools/tcmalloc.h",
        files=("libtcmalloc_minimal.so.4",),
        package="libgoogle-perftools-dev",
    ),
)

PREFIXES = (Path("/usr/local"), Path("/usr"))
MULTIARCH = "x86_64-linux-gnu"


def pack(folder: Path = PACK, prefixes: tuple[Path, ...] = PREFIXES) -> int:
    """Fill `folder` anew from what is installed below `prefixes`; return its size in bytes.

    Raises Unavailable if a library is not installed, or all together are too large.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gpu-pack-", dir=folder.parent) as staging:
        made = Path(staging, "pack")
        for library in LIBRARIES:
            _copy(library, made, prefixes)
        label = {"commit": machine.commit(), "date": machine.now(), "cpu": machine.cpu_model()}
        (made / LABEL).write_text(json.dumps(label))
        size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
        if size > LARGEST_BYTES:
            raise Unavailable(f"the pack has {size} bytes, at most {LARGEST_BYTES} are allowed")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return size


def _copy(library: Library, made: Path, prefixes: tuple[Path, ...]) -> None:
    """Copy the headers and the files of one library; those of one machine type lie apart."""
    for prefix in prefixes:
        if not (prefix / "include" / library.header).is_file():
            continue
        found = [_file(prefix, name) for name in library.files]
        if None in found:
            continue
        for headers in (prefix / "include", prefix / "include" / MULTIARCH):
            if (headers / library.folder).is_dir():
                target = made / "include" / library.folder
                shutil.copytree(headers / library.folder, target, dirs_exist_ok=True)
        (made / "lib").mkdir(parents=True, exist_ok=True)
        for path in found:
            if path is not None:
                shutil.copyfile(path, made / "lib" / path.name)
        return
    what = " and ".join((library.header, *library.files))
    raise Unavailable(f"{what} not installed here: apt-get install {library.package}")


def _file(prefix: Path, name: str) -> Path | None:
    folders = (prefix / "lib" / MULTIARCH, prefix / "lib64", prefix / "lib")
    return next((each / name for each in folders if (each / name).is_file()), None)


def commit_of(folder: Path) -> str | None:
    """The commit that was checked out where the pack was made; None without a pack."""
    try:
        found = json.loads((folder / LABEL).read_text())["commit"]
    except (OSError, ValueError, KeyError):
        return None
    return str(found)


def main() -> int:
    """Pack, and say how large it is and what comes next."""
    try:
        size = pack()
    except ZooError as error:
        print(f"gpu-pack: {error}", file=sys.stderr)
        return error.exit_code
    print(f"packed {size / 1e6:.1f} MB into {PACK.relative_to(ROOT)}")
    print("next: bring the checkout with this folder to the machine with the GPU; there, run")
    print("python3 -m results.gpu")
    return 0


if __name__ == "__main__":
    sys.exit(main())
