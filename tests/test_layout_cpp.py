"""The house rules of zoo-run's sources: which folder may include from which, and how long is long.

runtime_cpp/README.md says what each folder holds. Each rule is seen to fail once.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "runtime_cpp"
SOURCES = ROOT / "src"

ROOMS = (
    {"base"},
    {"machine"},
    {"artifact"},
    {"image", "measure"},
    {"options"},
    {"report", "torch"},
    {"engines"},
    {"calls", "pictures", "streams"},
    {"loaded"},
    {"session", "compare", "library"},
    {"main"},
)
"""A file may include from its own room and from the rows above it. A room is a folder of src/, or
one of the files beside the folders."""

MAX_LINES = 300
MAX_FUNCTION_LINES = 50


def room_of(path: str) -> str:
    """`base` for base/error.h, `options` for options.h."""
    return path.split("/")[0] if "/" in path else path.split(".")[0]


def row_of(room: str) -> int | None:
    """The row of a room; None if it has none."""
    return next((index for index, row in enumerate(ROOMS) if room in row), None)


def include_faults(source: str, path: str) -> list[str]:
    """What is wrong with the includes of `source`, the text of `path` below src/."""
    faults = []
    mine = row_of(room_of(path))
    for target in re.findall(r'^\s*#\s*include\s*"([^"]+)"', source, re.MULTILINE):
        room = room_of(target)
        theirs = row_of(room)
        if mine is None or theirs is None:
            faults.append(f"{path}: {target if mine is not None else path} has no row in ROOMS")
        elif theirs > mine or (theirs == mine and room != room_of(path)):
            faults.append(f"{path} may not include {target}")
    return faults


def long_functions(source: str) -> list[str]:
    """The first lines of functions that are too long, as clang-format lays them out."""
    long = []
    started = {"": (0, ""), "  ": (0, "")}  # the last statement that began at this depth
    for number, line in enumerate(source.splitlines()):
        indent = line[: len(line) - len(line.lstrip())]
        if indent not in started or not line.strip():
            continue
        if line.strip() != "}":
            started[indent] = (number, line.strip())
        elif number - started[indent][0] + 1 > MAX_FUNCTION_LINES:
            long.append(started[indent][1])
    return long


def files() -> list[Path]:
    """Every C++ file of the runner, its tests included."""
    return sorted(path for path in ROOT.rglob("*") if path.suffix in {".cpp", ".h"})


@pytest.mark.parametrize(
    "path", [path for path in files() if SOURCES in path.parents], ids=lambda path: path.name
)
def test_includes_run_one_way(path: Path) -> None:
    assert include_faults(path.read_text(), str(path.relative_to(SOURCES))) == []


@pytest.mark.parametrize(
    ("path", "include", "fault"),
    [
        ("base/json.cpp", "machine/machine.h", "may not include"),
        ("artifact/artifact.cpp", "measure/measure.h", "may not include"),
        ("torch/tensors.cpp", "report/report.h", "may not include"),
        ("torch/torch_machine.cpp", "engines/engine.h", "may not include"),
        ("options.h", "report/report.h", "may not include"),
        ("engines/offer.cpp", "session.h", "may not include"),
        ("library.cpp", "session.h", "may not include"),
        ("base/json.cpp", "error.h", "no row"),
        ("novelty/new.cpp", "base/error.h", "no row"),
    ],
)
def test_a_wrong_include_is_found(path: str, include: str, fault: str) -> None:
    assert any(fault in line for line in include_faults(f'#include "{include}"\n', path))


@pytest.mark.parametrize(
    ("path", "include"),
    [
        ("base/json.cpp", "base/error.h"),
        ("measure/stats.cpp", "base/text.h"),
        ("report/report.h", "options.h"),
        ("main.cpp", "session.h"),
    ],
)
def test_a_right_include_is_not(path: str, include: str) -> None:
    assert include_faults(f'#include <torch/version.h>\n#include "{include}"\n', path) == []


def test_every_folder_is_a_room() -> None:
    folders = {path.name for path in SOURCES.iterdir() if path.is_dir()}
    loose = {path.stem for path in SOURCES.iterdir() if path.is_file()}
    assert folders | loose == set().union(*ROOMS)


def test_no_file_or_function_is_long() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in files()}
    assert {name for name, text in texts.items() if len(text.splitlines()) > MAX_LINES} == set()
    long = {name: long_functions(text) for name, text in texts.items()}
    assert {name: functions for name, functions in long.items() if functions} == {}


def test_a_long_function_is_found() -> None:
    body = "  call();\n\n" * (MAX_FUNCTION_LINES // 2)
    deeper = "    call();\n\n" * (MAX_FUNCTION_LINES // 2)
    short = "  call();\n\n" * (MAX_FUNCTION_LINES // 2 - 1)
    assert long_functions("namespace zoo {\n\nint f() {\n" + body + "}\n\n}  // zoo\n") == [
        "int f() {"
    ]
    assert long_functions("class A {\n  int f() {\n" + deeper + "  }\n};\n") == ["int f() {"]
    assert long_functions("int f(int x,\n      int y) {\n" + body + "}\n") == ["int f(int x,"]
    assert long_functions("int f() {\n" + short + "}\n") == []
