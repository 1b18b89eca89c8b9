"""An artifact for a named CPU level runs on every CPU of that level, whatever built it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from torch._inductor import config as inductor_config

from compile import machine
from compile.api import compile_module, load
from compile.errors import Unavailable
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, small_net
from tests.support.onednn import in_runner

THREADS = {"x86-64-v3": 1, "x86-64-v4": 2}
"""Level -> the number of threads that its artifact is built with."""

AVX512 = re.compile(r"%zmm|%k[0-7]\b|%[xy]mm(?:1[6-9]|2[0-9]|3[01])\b|\{1to\d+\}")
"""What only AVX-512 has: its registers, its masks, the upper half of all, broadcast operands."""


@pytest.fixture(scope="session")
def levels(tmp_path_factory: pytest.TempPathFactory, runner: Path) -> dict[str, Path]:
    """A static inductor artifact for each level that this CPU runs."""
    if shutil.which("g++") is None:
        pytest.skip("no g++, which inductor needs")
    if not hasattr(inductor_config.cpp, "march"):
        pytest.skip(f"torch {torch.__version__} compiles for this very CPU only")
    root = tmp_path_factory.mktemp("levels")
    before = torch.get_num_threads()
    found = {}
    for level, threads in THREADS.items():
        if not machine.cpu_flags().issuperset(machine.LEVELS[level]):
            continue
        torch.set_num_threads(threads)
        spec = CompileSpec(shape=SHAPE, target=level)
        result = compile_module(small_net(), spec, backend="inductor", root=root, runner=runner)
        found[level] = result.path
    torch.set_num_threads(before)
    return found


def artifact(levels: dict[str, Path], level: str) -> Path:
    if level not in levels:
        pytest.skip(f"this CPU cannot run {level}, so it builds nothing for it")
    return levels[level]


def members(folder: Path, suffix: str, file: str = "model.pt2") -> list[bytes]:
    """The members of the package whose names end in `suffix`."""
    with zipfile.ZipFile(folder / file) as package:
        names = [name for name in package.namelist() if name.endswith(suffix)]
        return [package.read(name) for name in names]


def avx512_lines(folder: Path, scratch: Path) -> list[str]:
    """The instructions of the shared library in an artifact that need AVX-512."""
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("no objdump here: apt-get install binutils")
    (library,) = members(folder, ".so")
    (scratch / "model.so").write_bytes(library)
    command = [objdump, "-d", "--no-show-raw-insn", str(scratch / "model.so")]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "%ymm" in listing, "nothing was vectorised, so nothing is shown"
    return [line for line in listing.splitlines() if AVX512.search(line)]


def test_the_code_holds_no_instruction_of_a_higher_level(
    levels: dict[str, Path], tmp_path: Path
) -> None:
    assert avx512_lines(artifact(levels, "x86-64-v3"), tmp_path) == []
    assert avx512_lines(artifact(levels, "x86-64-v4"), tmp_path), "the search finds nothing"


@pytest.mark.parametrize("level", THREADS)
def test_it_needs_exactly_its_level(levels: dict[str, Path], level: str) -> None:
    manifest = json.loads((artifact(levels, level) / "manifest.json").read_text())
    assert manifest["target"] == {"name": level, "cpuid": sorted(machine.LEVELS[level])}


def test_a_native_one_needs_what_its_kernels_use(built: dict[str, Path]) -> None:
    target = json.loads((built["inductor"] / "manifest.json").read_text())["target"]
    here = {"avx_vnni", "avx512_vnni", "avx512_bf16", "amx_tile"} & machine.cpu_flags()
    assert target["name"] == machine.native_level()
    assert {*machine.LEVELS[target["name"]], *here} <= set(target["cpuid"]) <= machine.cpu_flags()


@pytest.mark.parametrize("level", THREADS)
def test_weights_are_packed_for_the_cpu_that_runs_it(
    levels: dict[str, Path], level: str, runner: Path
) -> None:
    for cpu in ("AVX2", "AVX512_CORE", "ALL"):
        for threads in (1, 2, 3, 4):
            seen, _ = in_runner(runner, artifact(levels, level), threads, 1, calls=2, cpu=cpu)
            assert seen.packed >= 4 and seen.reordered == 0, (cpu, threads)


@pytest.mark.parametrize("level", THREADS)
def test_threads_are_not_baked_in(levels: dict[str, Path], level: str, runner: Path) -> None:
    """Built with one number of threads, it runs with another and gives the same."""
    folder = artifact(levels, level)
    source = b"".join(members(folder, ".cpp"))
    assert b"#pragma omp parallel" in source
    assert b"num_threads(" not in source
    x = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(3))
    run, before = load(folder), torch.get_num_threads()
    outputs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        outputs.append(run(x))
        subprocess.run(
            [runner, folder, "--check", "--quiet", "--threads", str(threads)], check=True
        )
    torch.set_num_threads(before)
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0])


def test_bf16_needs_avx512(tmp_path: Path) -> None:
    """torch's bf16 convolutions raise without it, so no artifact for x86-64-v3 could run."""
    spec = CompileSpec(shape=SHAPE, precision="bf16", target="x86-64-v3")
    with pytest.raises(Unavailable, match="x86-64-v4"):
        compile_module(small_net(), spec, backend="inductor", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_cpu_without_avx512_runs_it(levels: dict[str, Path], runner: Path) -> None:
    """Emulated: both levels pass the look at /proc/cpuinfo there, which is the real CPU's."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        pytest.skip("no qemu-x86_64 here: apt-get install qemu-user")
    passed = {}
    for level in THREADS:
        command = [qemu, "-cpu", "Haswell", str(runner), str(artifact(levels, level)), "--check"]
        done = subprocess.run(
            [*command, "--threads", "1"], capture_output=True, text=True, timeout=300, check=False
        )
        passed[level] = done.returncode == 0
    assert passed == {"x86-64-v3": True, "x86-64-v4": False}
