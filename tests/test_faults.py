"""Each planted fault is caught by a gate in every backend, or listed as below its resolution.

A sample of the matrix runs with the other tests; `just faults` runs all of it, and writes what it
found into results/.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compile.backends import backend
from compile.runner import find_runner
from tests.support.faults import FAULTS, Record, WronglyFolded, attempt, folded, sound, tampered

ROOT = Path(__file__).parents[1]

CELLS = (
    ("eager", "fp32"),
    ("eager", "bf16"),
    ("torch-compile", "fp32"),
    ("torch-compile", "bf16"),
    ("torchscript", "fp32"),
    ("torchscript", "bf16"),
    ("inductor", "fp32"),
    ("inductor", "bf16"),
    ("inductor", "int8"),
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
"""Every backend and precision that a CPU has; fp16 of openvino needs a CPU that is rare."""

BELOW = {
    ("epsilon 1e-3 for 1e-5", "bf16"),
    ("weights rounded to 10 bits", "bf16"),
    ("weights rounded to 10 bits", "fp16"),
}
"""Faults that no gate can see when they come after folding. docs/parity.md lists the same."""

SAMPLE = {
    "torchscript fp32": tuple(FAULTS),
    "torchscript bf16": tuple(FAULTS),
    "eager fp32": ("a layer left in training mode", "stride moved"),
    "onnx fp32": ("padding mode", "bias dropped"),
    "onnx fp16": ("weights rounded to 10 bits", "epsilon 1e-3 for 1e-5"),
    "onnx int8": ("channels swapped", "weights rounded to 10 bits"),
    "openvino fp32": ("input shifted by a pixel",),
    "openvino int8": ("epsilon 1e-3 for 1e-5",),
    "inductor bf16": ("stride moved",),
}
"""What runs with the other tests: all where a build takes a tenth of a second, else a few."""


def plant(
    fault: str, name: str, precision: str, runner: Path | None, root: Path, record: Record
) -> None:
    """Compile with the fault in it, and hold what happens to the list."""
    reason = backend(name).missing("cpu", precision)
    if reason is not None:
        pytest.skip(f"{name} {precision} {reason}")
    outcome = attempt(tampered(fault), name, precision, root, runner=runner)
    record("fault", outcome.row(fault, name, precision))
    expected = (fault, precision) in BELOW
    assert outcome.published is expected, (outcome.by, outcome.ratio, outcome.message)
    if expected:
        assert outcome.ratio is not None and outcome.ratio <= 1


@pytest.mark.parametrize(
    ("cell", "fault"), [(cell, fault) for cell, faults in SAMPLE.items() for fault in faults]
)
def test_a_fault_after_folding(
    cell: str, fault: str, runner: Path, tmp_path: Path, record_property: Record
) -> None:
    """Judged by zoo-run as well where a fault is one of a few."""
    judge = runner if len(SAMPLE[cell]) < len(FAULTS) else None
    plant(fault, *cell.split(), judge, tmp_path, record_property)


@pytest.mark.faults
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("name", "precision"), CELLS)
def test_every_fault_in_every_backend(
    name: str, precision: str, fault: str, tmp_path: Path, record_property: Record
) -> None:
    """The whole matrix, which takes minutes."""
    plant(fault, name, precision, find_runner(), tmp_path, record_property)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "precision"), CELLS)
def test_without_a_fault_it_is_published(
    name: str, precision: str, tmp_path: Path, record_property: Record
) -> None:
    """Else the matrix would show nothing."""
    if (reason := backend(name).missing("cpu", precision)) is not None:
        pytest.skip(f"{name} {precision} {reason}")
    outcome = attempt(sound(), name, precision, tmp_path, runner=find_runner())
    record_property("fault", outcome.row("none", name, precision))
    assert outcome.published, outcome.message


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_folding(fault: str, tmp_path: Path) -> None:
    """The file then holds what it is compared with, and bf16's bound is wide: the graph before
    the cast shows it, whatever the precision."""
    outcome = attempt(WronglyFolded(folded(fault)), "torchscript", "bf16", tmp_path)
    assert "fp32 before the cast" in outcome.failed, outcome


def test_every_cpu_cell_of_the_product_is_in_the_matrix() -> None:
    from compile.backends import BACKENDS

    offered = {
        (name, precision)
        for name in BACKENDS
        for precision in backend(name).PRECISIONS.get("cpu", ())
    }
    assert offered - set(CELLS) == {("openvino", "fp16")}
    assert {tuple(cell.split()) for cell in SAMPLE} <= set(CELLS)


def listed(document: str) -> dict[str, dict[str, str]]:
    """The table of faults: fault -> precision -> what its cell says."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in document.splitlines()
        if line.startswith("|")
    ]
    start = next(index for index, row in enumerate(rows) if row[0] == "planted after folding")
    heads = rows[start][1:]
    found = {}
    for row in rows[start + 2 :]:
        if row[0] not in FAULTS:
            break
        found[row[0]] = dict(zip(heads, row[1:], strict=True))
    return found


def test_the_document_lists_what_is_not_caught() -> None:
    table = listed((ROOT / "docs" / "parity.md").read_text())
    assert set(table) == set(FAULTS)
    below = {
        (fault, precision)
        for fault, cells in table.items()
        for precision, cell in cells.items()
        if cell.startswith("not caught")
    }
    assert below == BELOW
    for fault, cells in table.items():
        assert set(cells) == {"fp32", "bf16", "fp16", "int8"}
        for cell in cells.values():
            assert re.search(r"\d|^refused", cell), (fault, "no ratio")


def test_a_document_that_claims_too_much_is_found() -> None:
    text = (ROOT / "docs" / "parity.md").read_text()
    changed = listed(text.replace("not caught", "caught", 1))
    assert sum(c.startswith("not caught") for row in changed.values() for c in row.values()) == 2
