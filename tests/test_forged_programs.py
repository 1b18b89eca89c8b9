"""A program changed inside its file, under fitting hashes, does not pass its proof again.

`zoo check` and `zoo-run --check` have the outputs alone: they catch what the bound can see.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from compile.api import compile_module
from compile.proof.check import Row, check_artifact
from compile.spec import CompileSpec
from tests.support.faults import Outcome, Record, gate_of, rounded
from tests.support.forgery import Change, edit_onnx, forge, refit, replace_text
from tests.support.networks import KINDS, PYTHON_ONLY, SHAPE, small_net

Copy = Callable[[str], Path]


def _where(applies: Callable[[torch.Tensor], bool], change: Change) -> Change:
    return lambda tensor: change(tensor) if applies(tensor) else None


def _is_bias(tensor: torch.Tensor) -> bool:
    return tensor.ndim == 1 and tensor.is_floating_point()


def _is_weight(tensor: torch.Tensor) -> bool:
    return tensor.ndim > 1


CONSTANTS: dict[str, Change] = {
    "biases zeroed": _where(_is_bias, lambda tensor: tensor.zero_()),
    "weights reversed": _where(
        _is_weight, lambda t: t.copy_(t.flatten().flip(0).view(t.shape).clone())
    ),
    "weights rounded to 10 bits": _where(
        lambda t: _is_weight(t) and t.dtype == torch.float32, lambda t: t.copy_(rounded(t, 10))
    ),
    "weights one bf16 step too large": _where(
        lambda t: _is_weight(t) and t.is_floating_point(),
        lambda t: t.copy_((1 + 2.0**-8) * t.float()),  # bf16 rounds that up to its next number
    ),
}
"""What is done to the constants of a program, whatever keeps them."""

UNCHANGED = {("inductor-bf16", "weights rounded to 10 bits")} | {
    (kind, change)
    for kind in ("inductor-int8", "onnx-int8")
    for change in ("weights rounded to 10 bits", "weights one bf16 step too large")
}
"""What leaves the file as it is: bf16 has fewer bits, int8 weights are whole numbers."""

BELOW = {("inductor-bf16", "weights one bf16 step too large")}
"""What the outputs alone cannot tell from rounding. docs/parity.md lists the same."""


SAMPLE = {
    "torchscript": ("biases zeroed", "weights rounded to 10 bits"),
    "inductor": ("weights rounded to 10 bits",),
    "inductor-bf16": ("weights reversed", "weights one bf16 step too large"),
    "inductor-int8": ("weights reversed",),
    "onnx": ("weights reversed",),
    "onnx-int8": ("biases zeroed",),
    "openvino": ("biases zeroed",),
    "eager": ("weights rounded to 10 bits",),
}
"""What runs with the other tests; `just faults` runs every change in every kind."""


def outcome(kind: str, folder: Path, runner: Path) -> Outcome:
    """What the places that check a program say of it; they must agree."""
    rows = check_artifact(folder, runner)
    verdicts = {row.verdict == "FAILED" for row in rows}
    if kind not in PYTHON_ONLY:
        done = subprocess.run([runner, folder, "--check"], capture_output=True, check=False)
        verdicts.add(done.returncode == 1)
    assert len(verdicts) == 1, [(row.ran_in, row.batch, row.ratio) for row in rows]
    assert {row.ran_in for row in rows if row.ran_in == "zoo-run"} or kind in PYTHON_ONLY
    failed = [
        ("zoo-run: " if row.ran_in == "zoo-run" else "") + gate_of(reason)
        for row in rows
        for reason in row.reasons
    ]
    ratio = max(row.ratio for row in rows)
    return Outcome(published=not verdicts.pop(), failed=tuple(failed), ratio=ratio, message="")


def change_constants(kind: str, change: str, folder: Path, runner: Path, record: Record) -> None:
    """Change them and hold what `zoo check` and `zoo-run --check` say to the list."""
    assert forge(folder, CONSTANTS[change]), "nothing was changed"
    found = outcome(kind, folder, runner)
    heading = "changed in the file, then `zoo check`"
    record("fault", found.row(change, kind, heading))
    assert found.published is ((kind, change) in BELOW), found


@pytest.mark.parametrize(
    ("kind", "change"), [(kind, change) for kind, changes in SAMPLE.items() for change in changes]
)
def test_changed_constants(
    kind: str, change: str, copy_of: Copy, runner: Path, record_property: Record
) -> None:
    change_constants(kind, change, copy_of(kind), runner, record_property)


@pytest.mark.faults
@pytest.mark.parametrize("change", CONSTANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_change_in_every_kind(
    kind: str, change: str, copy_of: Copy, runner: Path, record_property: Record
) -> None:
    if (kind, change) in UNCHANGED:
        pytest.skip("it leaves the numbers of this file as they are")
    change_constants(kind, change, copy_of(kind), runner, record_property)


def test_every_kind_is_in_the_sample() -> None:
    assert set(SAMPLE) == set(KINDS)


def attribute(node: Any, name: str) -> Any:
    return next(entry for entry in node.attribute if entry.name == name)


def convolution(model: Any, index: int) -> Any:
    return [node for node in model.graph.node if node.op_type == "Conv"][index]


def _set(name: str, index: int, values: list[int]) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        attribute(convolution(model, index), name).ints[:] = values
        del model.graph.value_info[:]

    return change


def _drop_activation(model: Any) -> None:
    relu = [node for node in model.graph.node if node.op_type == "Relu"][1]
    relu.op_type = "Identity"


def _swap_channels(model: Any) -> None:
    from onnx import numpy_helper

    name = convolution(model, 0).input[1]
    tensor = next(each for each in model.graph.initializer if each.name == name)
    swapped = numpy_helper.to_array(tensor)[:, ::-1].copy()
    tensor.CopyFrom(numpy_helper.from_array(swapped, name))


GRAPHS: dict[str, Callable[[Any], None]] = {
    "stride moved": _set("strides", 2, [1, 1]),
    "input shifted by a pixel": _set("pads", 0, [1, 2, 1, 0]),
    "channels swapped": _swap_channels,
    "shortcut without its ReLU": _drop_activation,
}


@pytest.mark.parametrize(
    ("kind", "change"), [*(("onnx", change) for change in GRAPHS), ("openvino", "stride moved")]
)
def test_a_changed_graph(kind: str, change: str, copy_of: Copy, runner: Path) -> None:
    folder = copy_of(kind)
    edit_onnx(folder / "model.onnx", GRAPHS[change])
    refit(folder)
    assert not outcome(kind, folder, runner).published


CODE = {
    "stride moved": ("[2, 2], [1, 1], [1, 1], False", "[1, 1], [1, 1], [1, 1], False"),
    "padding dropped": ("(x, CONSTANTS.c0, CONSTANTS.c1, [1, 1], [1, 1]", "[0, 0]"),
    "shortcut without its ReLU": ("torch.relu(input1)", "torch.neg(torch.neg(input1))"),
}


@pytest.mark.parametrize("change", CODE)
def test_changed_code(change: str, copy_of: Copy, runner: Path) -> None:
    folder = copy_of("torchscript")
    old, new = CODE[change]
    if change == "padding dropped":
        new = old.removesuffix("[1, 1]") + new
    replace_text(folder / "model.ts", old, new, times=1)
    refit(folder)
    assert not outcome("torchscript", folder, runner).published


def test_another_networks_program(copy_of: Copy, runner: Path, tmp_path: Path) -> None:
    """Stale weights: a sound program of another network."""
    folder = copy_of("torchscript")
    other = compile_module(
        small_net(1), CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path / "other"
    )
    (folder / "model.ts").write_bytes((other.path / "model.ts").read_bytes())
    refit(folder)
    assert not outcome("torchscript", folder, runner).published


def test_a_check_says_where_and_how_much(copy_of: Copy, runner: Path) -> None:
    folder = copy_of("torchscript")
    forge(folder, CONSTANTS["biases zeroed"])
    rows: list[Row] = check_artifact(folder, runner)
    assert [(row.ran_in, row.verdict) for row in rows] == [
        ("torch", "FAILED"),
        ("zoo-run", "FAILED"),
    ]
    assert all(row.ratio > 1 and "beyond their bound" in row.reasons[0] for row in rows)
