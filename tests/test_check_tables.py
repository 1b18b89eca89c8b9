"""What zoo check says of artifacts beside their numbers, and the packages that zoo doctor lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compile.artifact.manifest import Manifest
from compile.backends import onnx, tensorrt
from tests.support.forgery import rewrite
from tests.support.manifests import base
from zoo.cli import _run
from zoo.cli.inspect import inspect_lines
from zoo.cli.labels import traits
from zoo.cli.tables import counted


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


def test_one_thread_is_no_threads() -> None:
    assert counted([1], "thread") == "1 thread"
    assert counted([2, 2], "thread") == "2 threads"
    assert counted([1000, 7, 86], "call") == "7 to 1,000 calls"
    assert counted([1, 3], "load") == "1 to 3 loads"


def test_inspect_counts_one_thread(built: dict[str, Path]) -> None:
    from compile.artifact.manifest import read_manifest

    manifest = read_manifest(built["torchscript"])
    manifest["determinism"]["threads"] = 1
    lines = map(str, inspect_lines(built["torchscript"], manifest, None))
    text = " ".join(" ".join(lines).split())
    assert "3 loads, 1 thread: the same bits" in text


@pytest.mark.parametrize("possible", [True, False])
def test_a_failed_check_names_bisect_where_it_can_look(
    possible: bool,
    copy_of: Callable[[str], Path],
    runner: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bounds of the samples are made a million times as narrow."""
    folder = copy_of("torchscript")

    def narrow(manifest: dict[str, Any]) -> None:
        for row in manifest["parity"]["outputs"][0]["bounds"]:
            row.update({key: row[key] / 1e6 for key in ("e_eager", "floor", "bound", "rmse")})

    rewrite(folder, narrow)
    if not possible:
        monkeypatch.setattr("zoo.cli.check.can_bisect", lambda manifest: False)
    assert _run(["check", str(folder), "--runner", str(runner), "--quiet"]) == 1
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    if possible:
        assert err.strip().endswith(f"`zoo bisect {folder}` names the layer")
    else:
        assert "bisect" not in err
        assert err.strip().endswith("build again what failed with `zoo compile --force`")
