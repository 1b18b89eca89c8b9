"""AOTInductor: torch.compile ahead of time, one .pt2 with the kernels and the weights inside.

Freezing is what makes it fast (convolution, residual add and ReLU become one oneDNN call on
prepacked weights), and torch ignores it silently while gradients are on: hence `no_grad`, and hence
the look into the file for frozen constants afterwards.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compile.backends.base import Built, Program, ProgramFile
from compile.errors import CheckFailed, Unavailable
from compile.precision import of_constants
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

NAME = "inductor"
PRECISIONS = ("fp32", "bf16")
DEVICES = ("cpu", "cuda")
MACHINE_CODE = True
FILE = "model.pt2"
ENTRY = "model"

_VECTOR_BITS = {"x86-64-v3": 256, "x86-64-v4": 512, "sapphirerapids": 512}


def missing(device: str) -> str | None:
    """AOTInductor compiles C++ while it builds."""
    del device
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    if shutil.which(compiler[0]) is None:
        return "needs a C++ compiler: apt-get install g++"
    return None


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Export `module` and compile it into one .pt2."""
    import torch
    from torch._inductor import aoti_compile_and_package

    path = folder / FILE
    example = spec.example().to(spec.device)
    with torch.no_grad():  # freezing is ignored while gradients are on
        exported = torch.export.export(
            module.to(spec.device), (example,), dynamic_shapes=spec.dynamic_shapes()
        )
        with _packing(wanted=not (spec.portable and spec.target == "x86-64-v3")):
            aoti_compile_and_package(
                exported, package_path=str(path), inductor_configs=_configs(spec)
            )
    program = ProgramFile(file=FILE, batch=spec.batch, entry=ENTRY)
    if not any(row["name"].startswith("_frozen") for row in _layout(str(path))):
        raise CheckFailed("AOTInductor did not freeze the weights; report this torch version")
    precision = of_constants(constants(str(path), program))
    native = "cpp.march" not in _configs(spec)
    return Built(programs=(program,), precision=precision, native=native)


@contextmanager
def _packing(*, wanted: bool) -> Iterator[None]:
    """Let weights be packed for the oneDNN kernels of this very CPU, or leave them as they are.

    A CPU whose kernels want another layout repacks them on every call: the numbers stay right.
    Between AVX-512 and AVX2 that takes ten times as long as the network and more, between CPUs
    with AVX-512 no longer than packing plain ones (docs/log.md). Inductor's own option,
    cpp.weight_prepack, is read once in a process, so the patterns that pack are taken away.
    """
    from torch._inductor.fx_passes import freezing_patterns

    freezing_patterns.lazy_init()  # fills the list, whatever is built first
    patterns = freezing_patterns.pass_patterns
    kept = list(patterns)
    if not wanted:
        patterns.clear()
    try:
        yield
    finally:
        patterns[:] = kept


def _configs(spec: CompileSpec) -> dict[str, Any]:
    configs: dict[str, Any] = {
        "freezing": True,
        "cpp.dynamic_threads": True,  # else the build machine's thread count is baked in
        "cpp.march": spec.target,
        "cpp.simdlen": _VECTOR_BITS[spec.target],
    }
    from torch._inductor import config

    if not _has(config, "cpp.march"):
        if spec.portable:
            raise Unavailable("this torch compiles for this very CPU only: use --target native")
        del configs["cpp.march"]  # see Built.native
    lacking = [name for name in configs if not _has(config, name)]
    if lacking:  # without them the file would silently be another one than the manifest says
        raise CheckFailed(f"this torch's Inductor has no option {', '.join(lacking)}")
    return configs


def _has(config: Any, name: str) -> bool:
    for part in name.split("."):
        if not hasattr(config, part):
            return False
        config = getattr(config, part)
    return True


def load(path: str, program: ProgramFile, device: str) -> Program:
    """Load through the packaged loader, which checks no inputs: callers validate them."""
    import torch

    index = -1 if device == "cpu" else 0
    with _private_temp():
        loader = torch._C._aoti.AOTIModelPackageLoader(
            path, program.entry or ENTRY, False, 1, index
        )

    def run(x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = loader.run([x])[0]
        return out

    return run


@contextmanager
def _private_temp() -> Iterator[None]:
    """The loader unpacks into TMPDIR and leaves it there when it throws: give it one of ours."""
    before = os.environ.get("TMPDIR")
    # The loader keeps the folder as long as it lives, so a failing removal is no error.
    with TemporaryDirectory(prefix="zoo-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """The constants as they lie in the shared library, packed ones as a flat run of values.

    oneDNN's packed layouts permute and zero-pad the values and change none, which is all that a
    comparison of sorted values needs.
    """
    import torch

    del program
    blob = torch.frombuffer(bytearray(_blob(path)), dtype=torch.uint8)
    at = 0
    for row in _layout(path):
        data = blob[at : at + row["bytes"]]
        at += (row["bytes"] + 63) // 64 * 64  # AOTInductor aligns constants to 64 bytes
        dtype = getattr(torch, row["dtype"])
        if dtype.is_floating_point:
            values = data.view(dtype)
            yield values.reshape([1] * (row["rank"] - 1) + [-1])


_CONSTANT = re.compile(
    r'constants_info_\[(?P<i>\d+)\]\.name = "(?P<name>[^"]*)";'
    r".*?\.dtype = cached_torch_dtype_(?P<dtype>\w+);"
    r".*?\.data_size = (?P<bytes>\d+);"
    r".*?\.shape = \{(?P<shape>[^}]*)\};",
    re.DOTALL,
)


def _layout(path: str) -> list[dict[str, Any]]:
    """Name, dtype, size and rank of each constant, from the wrapper's source in the package."""
    source = _member(path, ".wrapper.cpp").decode()
    return [
        {
            "name": match["name"],
            "dtype": match["dtype"],
            "bytes": int(match["bytes"]),
            "rank": max(1, len(match["shape"].split(","))),
        }
        for match in _CONSTANT.finditer(source)
    ]


def _member(path: str, suffix: str) -> bytes:
    with zipfile.ZipFile(path) as package:
        for name in package.namelist():
            if name.endswith(suffix):
                return package.read(name)
    raise CheckFailed(f"the .pt2 holds no {suffix}; this torch packages it in another form")


def _blob(path: str) -> bytes:
    """The bytes between _binary_constants_bin_start and _end in the package's shared library."""
    library = _member(path, ".so")
    sections = _elf_sections(library)
    addresses = {}
    for kind, start, size, link in ((s["type"], s["at"], s["size"], s["link"]) for s in sections):
        if kind != 11:  # SHT_DYNSYM
            continue
        names = sections[link]
        strings = library[names["at"] : names["at"] + names["size"]]
        for entry in range(start, start + size, 24):
            name, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", library, entry)
            text = strings[name : strings.index(b"\0", name)]
            if text.startswith(b"_binary_constants_bin_"):
                addresses[text.rpartition(b"_")[2]] = value
    start, end = addresses[b"start"], addresses[b"end"]
    for section in sections:
        if section["address"] <= start < section["address"] + section["size"]:
            at = section["at"] + start - section["address"]
            return library[at : at + end - start]
    raise CheckFailed("the shared library in the .pt2 holds no constants")


def _elf_sections(library: bytes) -> list[dict[str, int]]:
    (table,) = struct.unpack_from("<Q", library, 40)
    size, count = struct.unpack_from("<HH", library, 58)
    found = []
    for index in range(count):
        _, kind, _, address, at, length, link, *_ = struct.unpack_from(
            "<IIQQQQIIQQ", library, table + index * size
        )
        found.append({"type": kind, "address": address, "at": at, "size": length, "link": link})
    return found
