"""zoo bisect names the block in which a fault was planted, and none where there is no fault."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from compile.api import compile_module
from compile.backends import backend, torchscript
from compile.bisect.search import bisect
from compile.errors import BadArtifact, UsageError
from compile.network.quantize import scheme_here
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.support.bisect import DEEP, MODEL, block_of, plant, prepared_of, seal
from tests.support.forgery import rewrite
from tests.support.networks import values_of
from tests.support.slices import first_of_kind
from zoo.cli import _run
from zoo.sources.source import resolve


@pytest.fixture(scope="module")
def prepared() -> PreparedModel:
    """A resnet20: thirteen blocks of the smallest images."""
    return prepared_of()


@pytest.fixture(scope="module")
def deep(prepared: PreparedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Its artifacts, by backend and precision. Never change them."""
    root = tmp_path_factory.mktemp("deep")
    found = {}
    for kind, batch in {
        "torchscript fp32": (1, 1),
        "torchscript bf16": (1, 1),
        "onnx fp32": (1, 8),
        "openvino fp32": (1, 1),
        "eager fp32": (4, 4),
        "onnx int8": (1, 8),
        "openvino int8": (1, 1),
    }.items():
        backend, precision = kind.split()
        spec = CompileSpec(shape=DEEP, precision=precision, batch=batch)
        result = compile_module(prepared, spec, backend=backend, root=root, model=MODEL)
        found[kind] = result.path
    return found


PLACES = [
    *(("onnx fp32", seed) for seed in range(10)),
    *(("torchscript fp32", seed) for seed in range(10, 20)),
    *(("openvino fp32", seed) for seed in range(20, 23)),
    *(("eager fp32", seed) for seed in range(23, 26)),
    *(("onnx int8", seed) for seed in range(26, 36)),
    *(("openvino int8", seed) for seed in range(36, 39)),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("kind", "seed"), first_of_kind(PLACES))
def test_a_fault_at_a_random_place_is_found(
    kind: str, seed: int, deep: dict[str, Path], prepared: PreparedModel, tmp_path: Path
) -> None:
    """One weight of the saved graph, drawn by lot: its block is named, and its module inside."""
    backend_name, precision = kind.split()
    weights = prepared.weights(precision, scheme_here(backend(backend_name).QUANTIZER))
    name, weight = random.Random(seed).choice(sorted(values_of(weights).items()))
    folder = Path(shutil.copytree(deep[kind], tmp_path / "faulty"))
    plant(folder, weight, seed, size=0.5 if precision == "int8" else 0.01)
    report = bisect(folder, prepared)
    block, module = block_of(name)
    assert not report.passed
    assert report.culprit == block, (name, report)
    assert report.inside in {module, None if module == block else module}
    assert report.reason.endswith(f"weights differ from the module's at {name}")
    assert len(report.points) <= 5 < len(report.blocks) == 13, "it halves"


@pytest.mark.parametrize(
    "kind", ["torchscript fp32", "torchscript bf16", "onnx fp32", "eager fp32", "onnx int8"]
)
def test_a_sound_artifact_names_no_block(
    kind: str, deep: dict[str, Path], prepared: PreparedModel
) -> None:
    report = bisect(deep[kind], prepared, full=True)
    assert report.passed
    assert report.culprit is None, report
    assert [point.name for point in report.points] == report.blocks
    assert report.blocks[:4] == ["conv1", "relu", "layer1.0", "layer1.1"]
    assert report.blocks[-2:] == ["avgpool", "fc"]
    assert all(0 < point.ratio <= 1 for point in report.points)


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a TensorRT engine": (lambda m: m.update(backend="tensorrt"), "onnx"),
    "another backend": (lambda m: m.update(backend="tvm"), "tvm"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_looked_into_is_refused(
    name: str, deep: dict[str, Path], prepared: PreparedModel, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(deep["torchscript fp32"], tmp_path / "refused"))
    change, words = REFUSED[name]
    rewrite(folder, change)
    with pytest.raises(UsageError, match=words):
        bisect(folder, prepared)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_weights_and_nameless_steps_are_refused(
    deep: dict[str, Path], prepared: PreparedModel, tmp_path: Path
) -> None:
    other = resolve("resnet20", runs=Path("nowhere"), fresh=True, seed=1, shape=DEEP)
    with pytest.raises(BadArtifact, match="--model"):
        bisect(deep["onnx fp32"], PreparedModel(other.network, DEEP))
    folder = Path(shutil.copytree(deep["torchscript fp32"], tmp_path / "nameless"))
    path = str(folder / torchscript.FILE)
    torch.jit.load(path).save(path)  # without the list of modules
    seal(folder)
    with pytest.raises(BadArtifact, match="which module"):
        bisect(folder, prepared, full=True)


def test_a_grid_is_made_again_of_the_same_images(
    deep: dict[str, Path],
    prepared: PreparedModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By the manifest's record of them, or by --calibrate; another grid is told from a fault."""
    assert _run(["bisect", str(deep["onnx int8"]), "--full", "--quiet", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert [point["name"] for point in points][:3] == ["conv1", "relu", "layer1.0"]
    with pytest.raises(BadArtifact, match="--calibrate"):
        bisect(deep["onnx int8"], prepared_of(negative=True))
    folder = str(tmp_path / "images")
    Path(folder).mkdir()
    for code, words in (
        (2, [str(deep["onnx fp32"]), "--calibrate", folder]),
        (2, [str(deep["onnx int8"]), "--calibrate", str(tmp_path / "nowhere")]),
        (3, [str(deep["onnx int8"]), "--calibrate", folder]),
    ):
        assert _run(["bisect", *words, "--quiet"]) == code
        assert "--calibrate" in capsys.readouterr().err
    quantised = prepared_of()
    grid = quantised.quantised_tasks.graph(scheme_here("x86")).network
    for node in grid.graph.nodes:
        if "quantized_decomposed.quantize_per_tensor" in str(node.target):
            node.update_arg(1, node.args[1] * 1.01)  # as another torchao might
    grid.recompile()
    with pytest.raises(BadArtifact, match="another grid"):
        bisect(deep["onnx int8"], quantised, full=True)
    copied = Path(shutil.copytree(deep["onnx int8"], tmp_path / "damaged"))
    entry = {"scheme": "x86", "calibration": "synthetic", "samples": 64}
    forged: list[Any] = [None, "abc", [1], *({**entry, "samples": n} for n in ("5", -1, True, 2.5))]
    for each in [*forged, {**entry, "calibration": None}, {**entry, "scheme": "another"}]:
        rewrite(copied, lambda m, each=each: m.update(quantization=each))  # type: ignore[misc]
        assert _run(["bisect", str(copied), "--quiet"]) == 3, each
        err = capsys.readouterr().err
        assert len(err.strip().splitlines()) == 1 and "quantization" in err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_command(
    deep: dict[str, Path],
    prepared: PreparedModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(deep["torchscript fp32"], tmp_path / "artifact"))
    assert _run(["bisect", str(folder), "--quiet"]) == 0
    assert capsys.readouterr().out.strip().endswith(f"next: zoo check {folder}")
    plant(folder, prepared.network.folded.get_parameter("layer2.1.conv1.weight"), seed=0)
    assert _run(["bisect", str(folder), "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.endswith("<- here")] == [
        line for line in out.splitlines() if line.startswith("layer2.1 ")
    ]
    assert max(map(len, out.splitlines())) <= 80
    assert len(err.strip().splitlines()) == 1
    assert "layer2.1.conv1" in err
    assert _run(["bisect", str(folder), "--full", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["culprit"], report["inside"]) == ("layer2.1", "layer2.1.conv1")
    assert len(report["points"]) == len(report["blocks"])
    assert (tmp_path / "bisect-artifact.png").read_bytes()[:4] == b"\x89PNG"


BAD: dict[str, tuple[list[str], int]] = {
    "no such folder": (["nowhere"], 2),
    "a picture of a part": (["ARTIFACT", "--picture", "x.png"], 2),
    "another model": (["ARTIFACT", "--model", "resnet32"], 3),
    "no such model": (["ARTIFACT", "--model", "resnet21"], 2),
    "no place for the picture": (["ARTIFACT", "--full", "--picture", "nowhere/x.png"], 4),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_are_one_line(
    name: str,
    deep: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words, code = BAD[name]
    folder = str(deep["torchscript fp32"])
    said = [folder if word == "ARTIFACT" else word for word in words]
    assert _run(["bisect", *said, "--quiet"]) == code
    out, err = capsys.readouterr()
    assert len(err.strip().splitlines()) == 1, err
    assert "Traceback" not in out + err


def test_a_manifest_chooses_no_code(
    deep: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither by its source nor by the name of the network; only --model may."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    evil = "from pathlib import Path\nPath('imported').touch()\ndef go(): raise SystemExit\n"
    (tmp_path / "evilmod.py").write_text(evil)
    folder = Path(shutil.copytree(deep["torchscript fp32"], tmp_path / "forged"))
    for source, name, code in (
        ("evilmod:go seed=0", "resnet20", 2),
        ("evilmod:go seed=0 fresh", "resnet20", 2),
        ("evilmod:go", "resnet20", 2),
        ("fresh:seed=0", "evilmod:go", 3),
    ):
        rewrite(folder, lambda m, s=source, n=name: m["model"].update(source=s, name=n))  # type: ignore[misc]
        assert _run(["bisect", str(folder), "--quiet"]) == code, source
        out, err = capsys.readouterr()
        assert not (tmp_path / "imported").exists(), (source, name)
        assert len(err.strip().splitlines()) == 1 and "--model" in err, err
        assert out == ""
        assert code == 3 or f"`zoo bisect {folder} --model evilmod:go`" in err
    assert _run(["bisect", str(folder), "--model", "evilmod:go", "--quiet"]) == 1
    assert (tmp_path / "imported").exists()


def test_nothing_is_done_with_the_manifest_of_a_damaged_artifact(
    deep: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(deep["torchscript fp32"], tmp_path / "damaged"))
    rewrite(folder, lambda m: m["model"].update(source="somewhere else"))
    with (folder / torchscript.FILE).open("ab") as stream:
        stream.write(b"more")
    assert _run(["bisect", str(folder), "--quiet"]) == 3
    assert torchscript.FILE in capsys.readouterr().err


def test_the_result_outlives_a_picture_that_cannot_be_written(
    deep: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(deep["torchscript fp32"], tmp_path / "artifact"))
    (tmp_path / "bisect-artifact.png").symlink_to("/dev/null")  # root may write to any folder
    call = ["bisect", str(folder), "--full", "--quiet"]
    assert _run(call) == 0
    out, err = capsys.readouterr()
    assert "layer3.2" in out and "picture:" not in out and "next:" in out
    assert len(err.strip().splitlines()) == 1 and "bisect-artifact.png" in err
    assert _run([*call, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["picture"] is None and "bisect-artifact.png" in err
    asked = ["--picture", str(tmp_path / "nowhere" / "x.png")]
    assert _run([*call, *asked]) == 4
    assert "layer3.2" in capsys.readouterr().out
    assert _run([*call, *asked, "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["passed"]
