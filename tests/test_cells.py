"""What `zoo compile` says of several builds at once."""

from __future__ import annotations

from compile.errors import BadArtifact, CheckFailed, ZooError
from zoo.cli.cells import Cell, failures


def cell(backend: str, failed: ZooError | None = None) -> Cell:
    return Cell(backend=backend, precision="fp32", device="cpu", failed=failed)


def test_a_reason_is_given_once_for_all_builds_that_failed_for_it() -> None:
    cells = [
        cell("torchscript", CheckFailed("it draws random numbers")),
        cell("inductor"),
        cell("onnx", CheckFailed("it draws random numbers")),
        cell("openvino", BadArtifact("it draws random numbers")),
    ]
    assert [(type(each), str(each)) for each in failures(cells)] == [
        (CheckFailed, "torchscript fp32, onnx fp32: it draws random numbers"),
        (BadArtifact, "openvino fp32: it draws random numbers"),
    ]


def test_a_reason_that_names_its_build_stays_as_it_is() -> None:
    found = failures([cell("onnx", CheckFailed("onnx fp32, while it was proved: no room"))])
    assert list(map(str, found)) == ["onnx fp32, while it was proved: no room"]
