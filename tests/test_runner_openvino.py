"""What zoo-run's OpenVINO engine does that no other does; the rest is in test_runner_onnx.py."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny_onnx
from tests.support.runner import check, refused, run
from tests.support.tiny_onnx import model

if find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)

BF16_FLOOR = 2e-2


def artifact(folder: Path, **changes: Any) -> Path:
    return tiny_onnx.artifact(folder, backend="openvino", **changes)


def offers(precision: str) -> bool:
    """Whether OpenVINO computes in `precision` on this CPU."""
    import openvino

    return precision in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize(("precision", "name"), [("bf16", "BF16"), ("fp16", "FP16")])
def test_a_precision_is_computed_or_refused(
    precision: str, name: str, runner: Path, tmp_path: Path
) -> None:
    """OpenVINO takes another one in silence where the CPU has none of it."""
    folder = artifact(tmp_path, floor=BF16_FLOOR, precision=precision)
    if offers(name):
        rows = check(runner, folder)["samples"]
        assert max(row["rmse"] for row in rows) > 1e-5, "float32 would be closer"
    else:
        assert "OpenVINO would use" in refused(runner, folder, "--check", code=3)


@pytest.mark.parametrize("precision", ["fp8", "tf32"])
def test_precisions_that_openvino_has_not(precision: str, runner: Path, tmp_path: Path) -> None:
    folder = artifact(tmp_path, precision=precision)
    assert f"the artifact is {precision}" in refused(runner, folder, "--check", code=3)


def test_int8_layers_that_are_not_quantised_stay_float32(runner: Path, tmp_path: Path) -> None:
    check(runner, artifact(tmp_path, precision="int8"))


def test_another_batch_than_the_models_is_one_line(runner: Path, tmp_path: Path) -> None:
    narrow = artifact(tmp_path, content=model(2))
    line = refused(runner, narrow, "--check", "--batch", 3, code=3)
    assert "model.onnx: OpenVINO cannot run it" in line


def test_zoo_run_starts_without_it(runner: Path, tmp_path: Path) -> None:
    """It is a module beside zoo-run; where that is gone, only its artifacts are refused."""
    alone = Path(shutil.copy(runner, tmp_path / "zoo-run"))
    assert run(alone, "--version")[0] == 0
    line = refused(alone, artifact(tmp_path / "a"), "--check", code=4)
    assert "needs OpenVINO" in line and "pip install openvino" in line
