"""A backend is one file and one row, a precision one row: nothing else knows them by name."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from compile.api import compile_module
from compile.artifact.reading import open_artifact
from compile.artifact.schema import manifest_schema
from compile.backends import BACKENDS, backend, triton_platform
from compile.bisect.search import bisect
from compile.errors import Unavailable, UsageError
from compile.loading import load
from compile.measure.bench import measure_here
from compile.precision import PRECISIONS, Precision
from compile.proof.check import check_artifact
from compile.spec import CompileSpec
from tests.support.layout import ROOT, sources
from tests.support.networks import SHAPE, small_net, small_prepared
from zoo.cli import _run

NAME = "throwaway"

SOURCE = """
import torch

from compile.artifact.programs import ProgramFile
from compile.backends.base import Built
from compile.graphs.names import exported
from compile.precision import of_constants

NAME = "throwaway"
PRECISIONS = {"cpu": ("fp32", "fp64")}


def missing(device, precision):
    return None


def build(module, spec, folder):
    torch.export.save(exported(module, spec), folder / "model.pt2")
    program = ProgramFile(file="model.pt2", batch=spec.batch)
    values = constants(str(folder / "model.pt2"), program)
    return Built(programs=(program,), precision=of_constants(values))


def load(path, program, device):
    with open(path, "rb") as stream:
        return torch.export.load(stream).module()


def constants(path, program):
    with open(path, "rb") as stream:
        yield from torch.export.load(stream).state_dict.values()
"""
"""The names that a backend's module must have, and no more."""

FP64 = Precision(dtype="float64", eps=2.0**-52, k=2.0, least=2.0**-23)
"""Its outputs are float32, hence `least`."""


def known() -> dict[str, list[str]]:
    """The precisions that a manifest may name: the runner reads the same list."""
    return manifest_schema()["properties"]["precision"]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A backend and a precision that nothing else has heard of; a folder to build in."""
    (tmp_path / "throwaway_backend.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, NAME, "throwaway_backend")
    monkeypatch.setitem(PRECISIONS, "fp64", FP64)
    monkeypatch.setitem(known(), "enum", [*known()["enum"], "fp64"])
    yield tmp_path / "artifacts"
    sys.modules.pop("throwaway_backend", None)


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_file_and_a_row_are_enough(precision: str, rows: Path) -> None:
    spec = CompileSpec(shape=SHAPE, batch=(1, 8), precision=precision)
    prepared = small_prepared()
    made = compile_module(prepared, spec, backend=NAME, root=rows)
    assert made.path.name == f"{NAME}-{precision}-b1-8-cpu"
    assert not compile_module(prepared, spec, backend=NAME, root=rows).built
    x = torch.randn(3, *SHAPE)
    torch.testing.assert_close(load(made.path)(x), small_net()(x))
    (row,) = check_artifact(made.path, None)
    assert (row.verdict, row.ran_in, row.precision) == ("PASSED", "torch", precision)
    report = measure_here(made.path, duration=0.01, iterations=3, threads=1)
    assert report["conditions"]["executor"] == "torch"
    assert report["latency_ms"]["n"] >= 3
    with pytest.raises(UsageError, match=f"Triton has nothing that runs a .pt2 file of {NAME}"):
        triton_platform(made.manifest, made.path)
    with pytest.raises(UsageError, match=f"{NAME} gives no values from inside; .* eager"):
        bisect(made.path, prepared)


def test_it_builds_nothing_portable_unless_it_says_so(rows: Path) -> None:
    spec = CompileSpec(shape=SHAPE, portable=True)
    with pytest.raises(UsageError, match="--portable is for the backends tensorrt and"):
        compile_module(small_net(), spec, backend=NAME, root=rows)


def test_the_commands_take_it(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compile", "resnet20", "--fresh", "--input", "3x32x32", "--out", str(rows)]
    command += ["--backend", NAME, "--json", "--quiet"]
    assert _run([*command, "--precision", "all"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [(cell["backend"], cell["precision"]) for cell in cells] == [
        (NAME, "fp32"),
        (NAME, "fp64"),
    ]
    artifact = cells[0]["path"]
    assert _run(["check", artifact]) == 0
    assert _run(["export", artifact, "--triton", str(rows / "models")]) == 2
    assert _run(["bisect", artifact]) == 2
    assert _run([*command, "--portable"]) == 2
    assert _run([*command, "--precision", "bf16"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in errors[-4:]] == ["zoo"] * 4


def test_a_backend_without_its_row_is_refused_in_one_line(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = compile_module(small_net(), CompileSpec(shape=SHAPE), backend=NAME, root=rows)
    monkeypatch.delitem(BACKENDS, NAME)
    for use in (
        lambda: load(made.path),
        lambda: check_artifact(made.path, None),
        lambda: measure_here(made.path, duration=0.01, iterations=3, threads=1),
        lambda: triton_platform(made.manifest, made.path),
    ):
        with pytest.raises(Unavailable, match=f"needs the backend '{NAME}'; here are: eager"):
            use()
    with pytest.raises(UsageError, match="unknown backend"):
        bisect(made.path, small_prepared())
    artifact = open_artifact(made.path)
    assert artifact.manifest["backend"] == NAME


def test_a_module_that_lacks_a_name_is_no_backend(rows: Path) -> None:
    path = rows.parent / "throwaway_backend.py"
    path.write_text(SOURCE.replace("def build(", "def build_it("))
    with pytest.raises(TypeError, match="'build'"):
        backend(NAME)


def test_the_manifest_may_name_every_precision() -> None:
    assert known()["enum"] == list(PRECISIONS)


OTHER_MEANINGS = {
    ("compile/proof/describing.py", "tensorrt"),  # a field of `requirements`
    ("zoo/cli/inspect.py", "tensorrt"),  # the same
    ("zoo/cli/bisect_figure.py", "eager"),  # a field of a Point
}
"""Words that are backends' names and mean something else there."""


def strings(tree: ast.AST) -> Iterator[str]:
    """Every string in the code: docstrings and strings that stand by themselves are left out."""
    alone = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in alone:
            yield node.value


def compared(tree: ast.AST) -> Iterator[str]:
    """Every string that the code compares something with, by an operator or as a prefix."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from (text for side in (node.left, *node.comparators) for text in strings(side))
        elif isinstance(node, ast.MatchValue):
            yield from strings(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("startswith", "endswith"):
                yield from (text for argument in node.args for text in strings(argument))


def named_backends(path: str, source: str) -> list[str]:
    """The backends that a file names."""
    found = set(strings(ast.parse(source))) & set(BACKENDS)
    return sorted(name for name in found if (path, name) not in OTHER_MEANINGS)


def compared_precisions(source: str) -> list[str]:
    """The precisions that a file compares something with."""
    return sorted(set(compared(ast.parse(source))) & set(PRECISIONS))


FILES = [path.relative_to(ROOT).as_posix() for path in sources(".py")]


def test_nothing_outside_the_backends_names_one() -> None:
    found = {
        path: named_backends(path, (ROOT / path).read_text())
        for path in FILES
        if not path.startswith("compile/backends/")
    }
    assert {path: names for path, names in found.items() if names} == {}


def test_nothing_outside_its_table_compares_a_precision() -> None:
    """zoo/training has a precision of its own, that of a recipe."""
    found = {
        path: compared_precisions((ROOT / path).read_text())
        for path in FILES
        if path.startswith(("compile/", "zoo/cli/")) and path != "compile/precision.py"
    }
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        'if name == "onnx": pass',
        'x = {"onnx": 1}.get(name, "torch")',
        'name.startswith("onnx")',
        'KNOWN = ("tflite", "onnx")',
        "match name:\n case 'onnx': pass",
    ],
)
def test_a_backend_that_is_named_is_found(source: str) -> None:
    assert named_backends("x.py", source) == ["onnx"]
    assert named_backends("x.py", f'"""onnx"""\n{source.replace("onnx", "other")}') == []


@pytest.mark.parametrize(
    "source",
    [
        'x = row == "int8"',
        'x = name in ("fp32", "int8")',
        'x = "int8" != name',
        "match name:\n case 'int8': pass",
        'name.startswith("int8")',
    ],
)
def test_a_precision_that_is_compared_is_found(source: str) -> None:
    assert "int8" in compared_precisions(source)
    assert compared_precisions('DEFAULT = "int8"\nrow = PRECISIONS["int8"]') == []
