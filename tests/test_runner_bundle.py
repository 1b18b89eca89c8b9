"""The bundle: zoo-run in one folder, with all that it loads, which runs wherever it is put."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from compile.files import held
from compile.runner import capabilities
from tests.support.package import call, cmake, tiny

SYSTEM = re.compile(r"/(ld-linux-x86-64|lib(c|dl|m|pthread|rt|gcc_s|stdc\+\+))\.so[.0-9]*$")
"""The libraries that a bundle takes from the machine: those of C and of C++."""


@pytest.fixture(scope="module")
def bundle(runner: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder, which was moved. It holds half a gigabyte, so it is removed at the end."""
    place = tmp_path_factory.mktemp("bundle")
    with held(runner.parent):
        cmake("--install", runner.parent, "--component", "bundle", "--prefix", place / "made")
    yield (place / "made").rename(place / "moved")
    shutil.rmtree(place)


@pytest.mark.parametrize("backend", ["torchscript", "onnx", "openvino"])
def test_it_loads_nothing_from_elsewhere(backend: str, bundle: Path, tmp_path: Path) -> None:
    """The loader itself says which libraries it has loaded, by name or as an engine."""
    program = bundle / "bin" / "zoo-run"
    folder = tiny(backend, tmp_path / "artifact", program)
    done = call(program, folder, "--check", LD_DEBUG="libs", LD_DEBUG_OUTPUT=str(tmp_path / "log"))
    assert (done.returncode, done.stderr) == (0, b"")
    logs = "".join(log.read_text() for log in tmp_path.glob("log.*"))
    loaded = set(re.findall(r"calling init: (\S+)", logs))
    assert any(path.endswith("/libtorch_cpu.so") for path in loaded)
    elsewhere = [path for path in loaded if not Path(path).resolve().is_relative_to(bundle)]
    assert [path for path in elsewhere if not SYSTEM.search(path)] == []


def test_it_has_every_engine(bundle: Path, runner: Path) -> None:
    assert capabilities(bundle / "bin" / "zoo-run")["engines"] == capabilities(runner)["engines"]
