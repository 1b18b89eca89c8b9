"""What zoo check says of artifacts beside their numbers, and the packages that zoo doctor lists."""

from __future__ import annotations

import json

import pytest

from compile.artifact.manifest import Manifest
from compile.backends import onnx, tensorrt
from tests.support.manifests import base
from zoo.cli import _run
from zoo.cli.labels import traits


def manifest(
    shape: tuple[int, int, int], dtype: str = "float32", target: str = "any", **request: object
) -> Manifest:
    found = base()
    found["inputs"] = [{**found["inputs"][0], "dtype": dtype, "shape": list(shape)}]
    found["target"] = {**found["target"], "name": target}
    found["build"] = {**found["build"], "request": request}
    return found


def test_traits_are_read_from_the_manifest_whatever_the_folder_is_called() -> None:
    plain = manifest((3, 8, 8), target="graniterapids", named_level=False, portable=False)
    assert traits({"net-01/b1-cpu-x86-64-v3-u8-portable": plain}) == {
        "net-01/b1-cpu-x86-64-v3-u8-portable": ""
    }
    special = manifest((8, 8, 3), "uint8", "x86-64-v3", named_level=True, portable=True)
    assert traits({"net-01/a": special}) == {"net-01/a": "x86-64-v3-u8-portable"}


def test_sizes_are_told_if_they_differ_among_the_artifacts_of_a_model() -> None:
    small, large = manifest((3, 8, 8)), manifest((16, 16, 3), "uint8")
    assert traits({"net-01/a": small, "net-01/b": large, "net-02/c": small}) == {
        "net-01/a": "3x8x8",
        "net-01/b": "u8-3x16x16",
        "net-02/c": "",
    }


def test_the_doctor_lists_what_the_rows_of_the_backends_name(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert _run(["doctor", "--json"]) == 0
    packages = json.loads(capfd.readouterr().out)["packages"]
    assert {*onnx.PACKAGES, *tensorrt.PACKAGES, "openvino"} <= {*packages}
