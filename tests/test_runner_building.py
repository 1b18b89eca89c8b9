"""Building zoo-run before a command needs it, mostly with a cmake that is not the real one."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from compile.errors import Unavailable
from compile.runner import build_runner
from zoo.cli.selecting import ready_runner

_ALONE = """#!/bin/sh
mkdir "$ALONE" || { echo "CMake Error: two at once" >&2; exit 1; }
sleep 0.1
rmdir "$ALONE"
"""
_WRONG = """#!/bin/sh
cat >&2 <<END
-- Caffe2: found
CMake Error at CMakeLists.txt:9 (find_package):
  Could not find a package configuration file provided by "Torch".

Call Stack (most recent call first):
END
exit 1
"""


@pytest.fixture
def cmake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cmake that is found, to be written by the test; it builds into a folder of its own."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setenv("ALONE", str(tmp_path / "alone"))
    monkeypatch.setattr("compile.runner._BUILD", tmp_path / "build")
    return tools / "cmake"


def _write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


def test_commands_at_once_build_one_after_the_other(cmake: Path) -> None:
    _write(cmake, _ALONE)
    with ThreadPoolExecutor(4) as pool:
        built = [pool.submit(build_runner) for _ in range(4)]
    assert {each.result() for each in built} == {cmake.parent.parent / "build" / "zoo-run"}


def test_the_one_built_before_serves_where_building_breaks(
    cmake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(cmake, "#!/bin/sh\nexit 1")
    assert ready_runner(None) is None
    assert capsys.readouterr().err == (
        "zoo: building zoo-run failed: cmake ended 1; run `./setup runner`; continuing without it\n"
    )
    _write(cmake.parent.parent / "build" / "zoo-run", "#!/bin/sh")
    assert ready_runner(None) == cmake.parent.parent / "build" / "zoo-run"
    assert capsys.readouterr().err.endswith("; using the one built before\n")


def test_a_link_on_path_to_the_one_built_here_is_brought_up_to_date(cmake: Path) -> None:
    built = cmake.parent.parent / "build" / "zoo-run"
    built.parent.mkdir()
    _write(built, "#!/bin/sh")
    (cmake.parent / "zoo-run").symlink_to(built)
    _write(cmake, f"#!/bin/sh\necho built >> {cmake.parent.parent}/log")
    assert ready_runner(None) == built
    assert (cmake.parent.parent / "log").read_text() == "built\n" * 2  # configured and built
    (cmake.parent / "zoo-run").unlink()
    _write(cmake.parent / "zoo-run", "#!/bin/sh")
    assert ready_runner(None) == cmake.parent / "zoo-run"
    assert (cmake.parent.parent / "log").read_text() == "built\n" * 2


def test_a_place_that_cannot_be_written_is_one_line(
    cmake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(cmake, _ALONE)
    monkeypatch.setattr("compile.runner._BUILD", cmake / "below a file")
    with pytest.raises(Unavailable, match=r"^cannot write .*below a file: Not a directory; "):
        build_runner()


def test_what_broke_is_said_whole_in_one_line(cmake: Path) -> None:
    _write(cmake, _WRONG)
    with pytest.raises(Unavailable) as caught:
        build_runner()
    assert str(caught.value) == (
        "building zoo-run failed: CMake Error at CMakeLists.txt:9 (find_package): Could not find"
        ' a package configuration file provided by "Torch"; run `./setup runner`'
    )


def test_libraries_that_no_symbol_asks_for_are_linked(runner: Path) -> None:
    """CUDA's kernels register themselves when they are loaded; what torch 2.11 compiles ahead of
    time finds libtorch.so only where it is loaded already.
    """
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("no readelf here: apt-get install binutils")
    listing = subprocess.run([readelf, "-d", runner], capture_output=True, text=True, check=True)
    folder = Path(torch.__file__).parent / "lib"
    names = ("libtorch.so", "libtorch_cuda.so", "libc10_cuda.so")
    for name in (*(name for name in names if (folder / name).exists()), "libtcmalloc_minimal.so"):
        assert f"Shared library: [{name}" in listing.stdout, name
