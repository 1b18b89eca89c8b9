"""`zoo export --triton`: what Triton's own protobuf reads, and what lies beside it."""

from __future__ import annotations

import copy
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from compile.artifact.programs import ProgramFile
from compile.artifact.publishing import file_entries
from compile.artifact.reading import Artifact, open_artifact
from compile.artifact.triton import Handed, config, export_triton, quoted
from compile.backends import inductor, triton_platform
from compile.errors import BadArtifact, Unavailable, UsageError
from tests.support.forgery import rewrite
from tests.support.networks import SHAPE
from zoo.cli import _run

Copy = Callable[[str], Path]
CLASSES = [
    *('a "quoted" one', "back\\slash", "żółw 龜 🐢", "it's", "tab\there", "line\nbreak"),
    *("g", "h", "i", "j"),
]
NAMES = [name.replace("\n", " ") for name in CLASSES]
"""As they stand in the file of labels: one line for each, in UTF-8."""
PIXELS = {"channels": 2, "height": 8, "width": 8, "mean": [0.5, 0.25], "std": [0.2, 0.1]}


def parse(text: str) -> Any:
    """A ModelConfig as the server reads it; unknown fields and bad escapes raise."""
    pytest.importorskip("tritonclient.grpc", reason="no tritonclient here: pip install it")
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse(text, model_config_pb2.ModelConfig())


def configured(manifest: dict[str, Any], name: str) -> str:
    return config(manifest, name, triton_platform(manifest, "here"))


def exported(artifact: Artifact, repository: Path, **options: Any) -> Handed:
    platform = triton_platform(artifact.manifest, artifact.path)
    return export_triton(artifact, repository, platform, **options)


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def read(folder: Path) -> Any:
    return parse((folder / "config.pbtxt").read_text())


EXPECTED = {
    "torchscript": ("pytorch_libtorch", "pytorch", "model.pt", 0, [1]),
    "inductor": ("torch_aoti", "pytorch", "model.pt2", 0, [-1]),
    "inductor-bf16": ("torch_aoti", "pytorch", "model.pt2", 0, [1]),
    "inductor-int8": ("torch_aoti", "pytorch", "model.pt2", 0, [1]),
    "onnx": ("onnxruntime_onnx", "onnxruntime", "model.onnx", 8, []),
    "onnx-int8": ("onnxruntime_onnx", "onnxruntime", "model.onnx", 0, [1]),
    "openvino": ("onnxruntime_onnx", "onnxruntime", "model.onnx", 8, []),
}
"""Artifact of conftest -> platform, backend, file, max_batch_size, what stands before the shape."""


@pytest.mark.parametrize("kind", EXPECTED)
def test_real_artifacts(kind: str, built: dict[str, Path], tmp_path: Path) -> None:
    artifact = open_artifact(built[kind])
    made = exported(artifact, tmp_path / "models", name=kind)
    found = read(made.path)
    platform, backend, file, largest, batch = EXPECTED[kind]
    assert (found.name, made.path.name) == (kind, kind)
    assert (found.platform, found.backend, found.default_model_filename) == (
        platform,
        backend,
        file,
    )
    assert found.max_batch_size == largest
    (given,), (returned,) = found.input, found.output
    assert list(given.dims) == [*batch, *SHAPE] and list(returned.dims) == [*batch, 10]
    names = ("input", "logits") if file == "model.onnx" else ("INPUT__0", "OUTPUT__0")
    assert (given.name, returned.name) == names
    assert given.data_type == returned.data_type == 11  # TYPE_FP32
    assert [group.kind for group in found.instance_group] == [2]  # KIND_CPU
    assert found.HasField("dynamic_batching") == (largest > 0)
    source = built[kind] / artifact.programs[-1].file
    assert (made.path / "1" / file).read_bytes() == source.read_bytes()
    assert {path.name for path in made.path.iterdir()} == {
        "1",
        "config.pbtxt",
        "preprocessing.json",
    }
    assert [path.name for path in (tmp_path / "models").iterdir()] == [kind]
    if kind == "onnx":
        import onnx

        graph = onnx.load(made.path / "1" / file).graph
        assert ([i.name for i in graph.input], [o.name for o in graph.output]) == (
            [given.name],
            [returned.name],
        )


def case(built: dict[str, Path], **changes: Any) -> dict[str, Any]:
    """The manifest of a real artifact with other entries at the top."""
    manifest = copy.deepcopy(manifest_of(built["onnx"]))
    return manifest | changes


def program(file: str, low: int, high: int) -> dict[str, Any]:
    return {"file": file, "batch": [low, high], "entry": None}


ONE_TO_64 = {
    "inductor": ("model.pt2", "torch_aoti", "pytorch", 0),
    "torchscript": ("model.ts", "pytorch_libtorch", "pytorch", 64),
    "tensorrt": ("model.ts", "pytorch_libtorch", "pytorch", 64),
    "tensorrt-plan": ("model.plan", "tensorrt_plan", "tensorrt", 64),
    "onnx": ("model.onnx", "onnxruntime_onnx", "onnxruntime", 64),
    "openvino": ("model.onnx", "onnxruntime_onnx", "onnxruntime", 64),
}


@pytest.mark.parametrize("backend", ONE_TO_64)
@pytest.mark.parametrize("batch", [(1, 1), (8, 8), (1, 64)])
def test_every_backend_and_batch(
    backend: str, batch: tuple[int, int], built: dict[str, Path]
) -> None:
    file, platform, server, largest = ONE_TO_64[backend]
    device = "cuda" if "tensorrt" in backend else "cpu"
    manifest = case(built, backend=backend, device=device, programs=[program(file, *batch)])
    found = parse(configured(manifest, "net"))
    assert (found.platform, found.backend) == (platform, server)
    fixed = batch[0] == batch[1]
    assert found.max_batch_size == (0 if fixed else largest)
    dims = [batch[0]] if fixed else [] if largest else [-1]
    assert list(found.input[0].dims) == [*dims, *SHAPE]
    assert list(found.output[0].dims) == [*dims, 10]
    sizes = [2, 4, 8, 16, 32, 64] if found.max_batch_size else []
    assert list(found.dynamic_batching.preferred_batch_size) == sizes
    assert found.instance_group[0].kind == (1 if device == "cuda" else 2)


def test_openvino_bf16_goes_where_bf16_can_be_asked_for(built: dict[str, Path]) -> None:
    found = parse(configured(case(built, backend="openvino", precision="bf16"), "net"))
    assert (found.platform, found.backend) == ("", "openvino")
    assert found.default_model_filename == "model.onnx"
    assert found.parameters["HINT_BF16"].string_value == "YES"


def test_bytes_as_input(built: dict[str, Path]) -> None:
    given = {"name": "input", "dtype": "uint8", "layout": "NHWC", "shape": [8, 8, 2]}
    found = parse(configured(case(built, inputs=[given]), "net"))
    assert (found.input[0].data_type, list(found.input[0].dims)) == (2, [8, 8, 2])  # TYPE_UINT8
    assert found.parameters["zoo_input_layout"].string_value == "NHWC"


def test_the_widest_of_several_programs(built: dict[str, Path]) -> None:
    programs = [program("model.onnx", 1, 1), program("b.onnx", 1, 32), program("c.onnx", 8, 16)]
    assert parse(configured(case(built, programs=programs), "net")).max_batch_size == 32


def test_preferred_sizes_end_with_the_largest(built: dict[str, Path]) -> None:
    found = parse(configured(case(built, programs=[program("model.onnx", 1, 48)]), "net"))
    assert list(found.dynamic_batching.preferred_batch_size) == [2, 4, 8, 16, 32, 48]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "range": ({"programs": [program("model.onnx", 4, 8)]}, "--batch 1:8 or --batch 8"),
    "eager": ({"backend": "eager", "programs": [program("model.pt", 1, 1)]}, "of eager.*inductor"),
    "compile": ({"backend": "torch-compile"}, "of torch-compile.*torchscript"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_triton_cannot_run_is_refused(name: str, built: dict[str, Path]) -> None:
    changes, words = REFUSED[name]
    with pytest.raises(UsageError, match=words) as caught:
        configured(case(built, **changes), "net")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", *NAMES, '{"a": "\\u00e9"}', "\0001", "é1", "\x7f\r\n", "".join(map(chr, range(300)))],
)
def test_any_string_survives(text: str) -> None:
    line = quoted(text)
    assert line.isascii() and line.isprintable()
    assert parse(f"name: {line}").name == text


def test_class_names_and_preprocessing_travel_along(copy_of: Copy, tmp_path: Path) -> None:
    folder = copy_of("onnx")
    rewrite(folder, lambda m: m["model"].update(classes=CLASSES, preprocessing=PIXELS))
    made = exported(open_artifact(folder), tmp_path / "models")
    found = read(made.path)
    assert found.name == made.path.name == manifest_of(folder)["model"]["name"]
    assert found.output[0].label_filename == "labels.txt"
    assert json.loads(found.parameters["zoo_preprocessing"].string_value) == PIXELS
    beside = json.loads((made.path / "preprocessing.json").read_text())
    assert (beside["preprocessing"], beside["classes"]) == (PIXELS, CLASSES)
    assert beside["input"]["shape"] == list(SHAPE)
    labels = (made.path / "labels.txt").read_text(encoding="utf-8")
    assert labels.split("\n") == [*NAMES, ""]


def test_one_program_is_singled_out_of_a_package(copy_of: Copy, tmp_path: Path) -> None:
    """Triton asks a .pt2 for `model`; the widest of several may be called otherwise."""
    folder = copy_of("inductor")
    package = folder / "model.pt2"
    with zipfile.ZipFile(package) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(package, "w") as new:
        for name, content in members.items():
            if "/aotinductor/" in name:
                new.writestr(name.replace("/aotinductor/model/", "/aotinductor/range/"), content)
                new.writestr(name.replace("/aotinductor/model/", "/aotinductor/one/"), b"other")
            else:
                new.writestr(name, content)
    wide = {"file": "model.pt2", "batch": [1, 8], "entry": "range"}
    programs = [{**wide, "batch": [1, 1], "entry": "one"}, wide]
    rewrite(folder, lambda m: m.update(files=file_entries(folder), programs=programs))
    made = exported(open_artifact(folder), tmp_path, name="net")
    assert any("of 2 programs" in note for note in made.notes)
    found = str(made.path / "1" / "model.pt2")
    x = torch.randn(3, *SHAPE)
    outputs = [
        inductor.load(path, ProgramFile(file="model.pt2", batch=(1, 8), entry=entry), "cpu")(x)
        for path, entry in ((found, "model"), (str(package), "range"))
    ]
    assert torch.equal(*outputs)


def test_nothing_is_replaced_without_force(
    built: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = open_artifact(built["onnx"])
    made = exported(artifact, tmp_path, name="net")
    (made.path / "mine").touch()
    with pytest.raises(UsageError, match="--force"):
        exported(artifact, tmp_path, name="net")
    assert (made.path / "mine").exists()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match=r"No space left.*--triton REPO"):
            exported(artifact, tmp_path, name="net", force=True)
    assert (made.path / "mine").exists(), "a failed export leaves the old one"
    exported(artifact, tmp_path, name="net", force=True)
    assert not (made.path / "mine").exists()
    for name in ("", ".net", "a/b", "../net", "nét", "a" * 200):
        with pytest.raises(UsageError, match="--name"):
            exported(artifact, tmp_path, name=name)
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="--triton REPO"):
        exported(artifact, tmp_path / "file", name="net")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "net"]


def test_the_command(copy_of: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, repository = copy_of("inductor"), tmp_path / "models"
    command = ["export", str(folder), "--triton", str(repository)]
    assert _run([*command, "--name", "net"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"exported {repository}/net for torch_aoti"
    assert any("max_batch_size is 0" in line for line in lines)
    assert any("keep to batches from 1 to 8" in line for line in lines)
    assert lines[-1] == f"next: tritonserver --model-repository {repository}"
    assert _run([*command, "--name", "net", "--force", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["model"], report["platform"]) == ("net", "torch_aoti")
    assert _run([*command, "--name", "net"]) == 2
    assert _run([*command, "--format", "hf"]) == 2
    assert _run(["export", str(folder)]) == 2
    assert _run(["export", "resnet18", "--format", "hf", "--name", "net"]) == 2
    assert _run(["export", str(tmp_path / "nowhere"), "--triton", str(repository)]) == 2
    (folder / "model.pt2").write_bytes(b"damaged")
    assert _run([*command, "--name", "other"]) == 3
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 6 and all(line.startswith("zoo: ") for line in errors)
    assert [path.name for path in repository.iterdir()] == ["net"]
    with pytest.raises(BadArtifact):
        open_artifact(folder)
