"""The slices of long suites that run with `just test`."""

from __future__ import annotations

from tests.support.slices import first_of_kind


def test_the_first_of_each_kind_runs_and_the_others_are_slow() -> None:
    rows = first_of_kind([("onnx", 1), ("onnx", 2), ("eager", 3)])
    assert [row.values for row in rows] == [("onnx", 1), ("onnx", 2), ("eager", 3)]
    assert [[mark.name for mark in row.marks] for row in rows] == [[], ["slow"], []]
    names = first_of_kind(["resnet18", "resnet34", "plain18"], lambda name: name[:5])
    assert [bool(row.marks) for row in names] == [False, True, False]
