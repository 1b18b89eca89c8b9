"""AOTInductor: torch.compile ahead of time, one .pt2 with the kernels and the weights inside.

Freezing is what makes it fast (convolution, residual add and ReLU become one oneDNN call on packed
weights), and torch ignores it silently while gradients are on: hence `no_grad`, and hence the look
into the file for frozen constants afterwards. compile.backends.packing says where weights are
packed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compile import machine
from compile.advice import Missing, pip_install
from compile.artifact.manifest import GRAPH
from compile.artifact.programs import Program, ProgramFile
from compile.artifact.triton import Platform
from compile.backends import nvidia
from compile.backends.base import Built
from compile.backends.inductor_file import constants, has_member, layout
from compile.backends.onednn_events import by_onednn
from compile.backends.packing import build_notes, can_leave_packing_to_load, packed_at_load
from compile.backends.packs import Packs
from compile.errors import CheckFailed, Unavailable
from compile.graphs.names import exported
from compile.precision import of_constants
from compile.precision import precision as find_precision
from compile.returned import as_returned
from compile.spec import CompileSpec

if TYPE_CHECKING:
    from torch import nn

    from compile.artifact.reading import Artifact
    from compile.graphs.taps import Taps

NAME = "inductor"
PRECISIONS = {"cpu": ("fp32", "bf16", "int8"), "cuda": ("fp32", "tf32", "bf16", "fp16")}
QUANTIZER = "x86"
MACHINE_CODE = True
profile = by_onednn
FILE = "model.pt2"
FILE_OF_ONE = "model-b1.pt2"
ENTRY = "model"

_VECTOR_BITS = {"x86-64-v3": 256, "x86-64-v4": 512, "sapphirerapids": 512}


def missing(device: str, precision: str) -> str | None:
    """AOTInductor compiles C++ while it builds; int8 needs the quantiser's package."""
    if device == "cuda" and (reason := nvidia.missing(device, ())) is not None:
        return reason
    if find_precision(precision).quantised and find_spec("torchao") is None:
        command = pip_install("torchao")
        return Missing(f"needs torchao for int8: {command}", command)
    return no_compiler()


def no_compiler() -> str | None:
    """Why Inductor cannot compile here, or None. It takes a path with a space for two paths."""
    if re.search(r"\s", folder := tempfile.gettempdir()):
        return f"takes no folder with a space, such as {folder}: set TMPDIR to another"
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    if shutil.which(compiler[0]) is None:
        return Missing("needs a C++ compiler: apt-get install g++", "apt-get install g++")
    return None


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Export `module` and compile it. A range of batches that begins at 1 is compiled twice.

    Batch 1 gets a program of its own: its weights are packed once, whatever batches come between,
    and Inductor compiles its other kernels for this one batch.
    """
    import torch

    programs = []
    if spec.dynamic and spec.batch[0] == 1 and spec.device == "cpu":
        programs.append(_compile(module, replace(spec, batch=(1, 1)), folder, FILE_OF_ONE))
    programs.append(_compile(module, spec, folder, FILE))
    torch.export.save(exported(module, spec), folder / GRAPH)
    precisions = {
        of_constants(constants(str(folder / program.file), program)) for program in programs
    }
    if len(precisions) > 1:
        raise CheckFailed(f"the programs differ in precision: {', '.join(sorted(precisions))}")
    native = spec.device == "cpu" and "cpp.march" not in _configs(spec)
    return Built(programs=tuple(programs), precision=precisions.pop(), native=native)


def _compile(module: nn.Module, spec: CompileSpec, folder: Path, file: str) -> ProgramFile:
    path = str(folder / file)
    package(module, spec, path)
    rows = layout(path)
    packs = any(row.folded and row.packed for row in rows)
    if not packs and not any(row.name.startswith("_frozen") for row in rows):
        raise CheckFailed("AOTInductor did not freeze the weights; report this torch version")
    if packs and not has_member(path, ".wrapper.json"):  # the operators that pack
        raise CheckFailed("the .pt2 cannot pack its weights; report this torch version")
    return ProgramFile(file=file, batch=spec.batch, entry=ENTRY)


def package(module: nn.Module, spec: CompileSpec, path: str) -> None:
    """Export and compile a module into a .pt2, or the first part of one."""
    import torch
    from torch._inductor import aoti_compile_and_package

    with warnings.catch_warnings(), torch.no_grad():  # with gradients on, freezing is ignored
        warnings.filterwarnings("ignore", message="To copy construct from a tensor")  # for int8
        with _packing(spec) as options, _vectors_of(spec):
            aoti_compile_and_package(
                exported(module, spec),
                package_path=path,
                inductor_configs={**_configs(spec), **options},
            )


def _packing(spec: CompileSpec) -> AbstractContextManager[dict[str, Any]]:
    """How weights are packed: more options for Inductor, inside of which to build."""
    if spec.device == "cpu" and can_leave_packing_to_load():
        return packed_at_load(spec)
    return _packed_at_build(wanted=not (spec.named_level and spec.target == "x86-64-v3"))


@contextmanager
def _packed_at_build(*, wanted: bool) -> Iterator[dict[str, Any]]:
    """The way of a torch without the parts of `packed_at_load`, and of GPUs.

    Weights are packed for the oneDNN kernels of this very CPU, or left as they are. On another CPU
    or with another number of threads they are reordered on every call: the numbers stay right.
    Between AVX-512 and AVX2 that takes ten times as long as the network and more (docs/log.md).
    Inductor's own option, cpp.weight_prepack, is read once in a process, so the patterns that pack
    are taken away.
    """
    from torch._inductor.fx_passes import freezing_patterns

    freezing_patterns.lazy_init()  # fills the list, whatever is built first
    patterns = freezing_patterns.pass_patterns
    kept = list(patterns)
    if not wanted:
        patterns.clear()
    try:
        yield {"aot_inductor.metadata": build_notes()}
    finally:
        patterns[:] = kept


@contextmanager
def _vectors_of(spec: CompileSpec) -> Iterator[None]:
    """Let Inductor use the vectors of a level that this CPU has not.

    It would leave them out: it asks this CPU, and loads a trial library for the level into a
    process here. Code for another CPU must not run here, so it is given the answer.
    """
    if spec.device != "cpu" or machine.has_level(spec.target):
        yield
        return
    from torch._inductor import cpu_vec_isa

    wide = _VECTOR_BITS[spec.target] == 512
    base: Any = cpu_vec_isa.VecAVX512 if wide else cpu_vec_isa.VecAVX2

    class Vectors(base):  # type: ignore[misc]
        def __bool__(self) -> bool:
            return True

    kept = cpu_vec_isa.valid_vec_isa_list
    cpu_vec_isa.valid_vec_isa_list = lambda: [Vectors()]  # type: ignore[assignment]
    try:
        yield
    finally:
        cpu_vec_isa.valid_vec_isa_list = kept


def _configs(spec: CompileSpec) -> dict[str, Any]:
    configs: dict[str, Any] = {
        "freezing": True,
        "cpp.dynamic_threads": True,  # else the build machine's thread count is baked in
        "cpp.march": spec.target,
        "cpp.simdlen": _VECTOR_BITS[spec.target],
    }
    from torch._inductor import config

    if not _has(config, "cpp.march"):
        if spec.named_level:
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

    if device == "cpu":
        return Packs(loader, path).run
    return lambda x: as_returned(loader.run([x]))


def triton(precision: str) -> Platform:
    """By AOTInductor's loader in Triton's PyTorch backend."""
    del precision
    return Platform(
        backend="pytorch",
        platform="torch_aoti",
        reads=Path(FILE).suffix,
        file=FILE,
        batches=False,
        note="Triton up to 26.05 joins no requests for AOTInductor: max_batch_size is 0, the batch "
        "stands in dims",
    )


def open_taps(artifact: Artifact, program: ProgramFile, wrappers: int) -> Taps:
    """Values at the end of the exported graph's first part, compiled with the artifact's options.

    Raises BadArtifact if the artifact lacks the graph or the options.
    """
    from compile.backends.inductor_taps import prefixes

    return prefixes(artifact, program, wrappers, _compile_part)


def _compile_part(module: nn.Module, spec: CompileSpec) -> Program:
    with TemporaryDirectory(prefix="zoo-") as folder:
        path = str(Path(folder) / FILE)
        package(module, spec, path)
        program = ProgramFile(file=FILE, batch=spec.batch, entry=ENTRY)
        return load(path, program, "cpu")


@contextmanager
def _private_temp() -> Iterator[None]:
    """The loader unpacks into TMPDIR and leaves it there when it throws: give it one of ours."""
    before = os.environ.get("TMPDIR")
    # The loader keeps the folder as long as it lives, so a failing removal is not an error.
    with TemporaryDirectory(prefix="zoo-", ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
