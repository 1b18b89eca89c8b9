"""zoo-run's two engines for .onnx files, ONNX Runtime and OpenVINO, on small files made here."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from safetensors.torch import load_file

from compile.artifact.manifest import GOLDEN
from compile.artifact.publishing import file_entries
from compile.artifact.tensors import read_tensors, write_tensors
from tests.support import tiny_onnx
from tests.support.forgery import rewrite
from tests.support.manifests import both, put
from tests.support.output_manifests import more_output
from tests.support.runner import check, golden_input, refused, run, weights, write_artifact
from tests.support.tiny_onnx import model, pair, program

RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Backend -> what zoo-run calls its engine, and the package that brings it."""


@pytest.fixture(params=RUNTIMES)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    return name


def artifact(
    backend: str, folder: Path, content: onnx.ModelProto | bytes | None = None, **changes: Any
) -> Path:
    return tiny_onnx.artifact(folder, content, backend=backend, **changes)


def with_negative(backend: str, folder: Path, content: onnx.ModelProto) -> Path:
    return tiny_onnx.with_negative(folder, content, backend=backend)


def test_it_checks_and_measures(backend: str, runner: Path, tmp_path: Path) -> None:
    folder = artifact(backend, tmp_path)
    assert check(runner, folder)["verdict"] == "PASSED"
    for batch in (1, 5, 64):
        code, out, err = run(runner, folder, "--batch", batch, "--iterations", 3, "--json", "-")
        assert (code, err) == (0, "")
        report = json.loads(out)
        assert (report["batch"], report["output_stable"]) == (batch, True)
        name, version = report["conditions"]["runtime"].rsplit(" ", 1)
        assert name == RUNTIMES[backend] and version.count(".") == 2
        assert report["conditions"]["tcmalloc"]


def test_a_planted_fault_is_found(backend: str, runner: Path, tmp_path: Path) -> None:
    wrong = model()
    tensor = weights()
    tensor[1, 2] += 1e-4
    wrong.graph.initializer[0].CopyFrom(numpy_helper.from_array(tensor.numpy(), "w"))
    code, out, _ = run(runner, artifact(backend, tmp_path, wrong), "--check")
    assert code == 1 and "FAILED" in out


def test_outputs_are_the_models_own(backend: str, runner: Path, tmp_path: Path) -> None:
    folder = artifact(backend, tmp_path / "a")
    x = torch.randn(130, 1, 2, 2)
    np.save(tmp_path / "x.npy", x.numpy())
    code, _, err = run(
        runner, folder, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy"
    )
    assert (code, err) == (0, "")
    y = torch.from_numpy(np.load(tmp_path / "y.npy"))
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, x.flatten(1) @ weights())


def test_bytes_are_read_as_they_are(backend: str, runner: Path, tmp_path: Path) -> None:
    folder = artifact(backend, tmp_path, model(byte_input=True), byte_input=True)
    check(runner, folder)
    other = artifact(backend, tmp_path / "other", model(), byte_input=True)
    assert "the manifest says u" in refused(runner, other, "--check", code=3)


def test_of_overlapping_programs_the_first_that_answers_runs(
    backend: str, runner: Path, tmp_path: Path
) -> None:
    files = {"one.onnx": model(1).SerializeToString(), "many.onnx": model().SerializeToString()}
    programs = [program(1, 1, "one.onnx"), program(1, 64, "many.onnx")]
    folder = write_artifact(tmp_path, files, programs, backend=backend)
    names = [(entry["file"], entry["batch"]) for entry in check(runner, folder)["programs"]]
    assert names == [("one.onnx", 1), ("many.onnx", 16)]
    assert check(runner, folder, "--batch", 1)["file"] == "one.onnx"
    assert check(runner, folder, "--batch", 2)["file"] == "many.onnx"


@pytest.mark.parametrize("place", ["absolute", "beside"])
def test_weights_in_other_files_are_not_read(
    place: str, backend: str, runner: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.bin"
    outside.write_bytes(weights().numpy().tobytes())
    content = model()
    tensor = content.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", str(outside) if place == "absolute" else "outside.bin"
    folder = artifact(backend, tmp_path / "a", content)
    assert "keeps weights in other files" in refused(runner, folder, "--check", code=3)


@pytest.mark.parametrize("content", [b"", b"<net></net>", b"junk" * 99])
def test_what_is_no_onnx_file(content: bytes, backend: str, runner: Path, tmp_path: Path) -> None:
    folder = artifact(backend, tmp_path, content)
    assert "no ONNX file" in refused(runner, folder, "--check", code=3)


def test_its_own_errors_are_one_line(backend: str, runner: Path, tmp_path: Path) -> None:
    content = model()
    content.graph.node[-1].op_type = "NoSuchOperator"
    line = refused(runner, artifact(backend, tmp_path / "a", content), "--check", code=3)
    assert f"model.onnx: {RUNTIMES[backend]} cannot load it: " in line and "NoSuchOperator" in line
    folder = artifact(backend, tmp_path / "b")
    np.save(tmp_path / "x.npy", golden_input().double().numpy())
    assert "float64" in refused(runner, folder, "--input", tmp_path / "x.npy", code=3)


def test_graphs_are_for_gpus(backend: str, runner: Path, tmp_path: Path) -> None:
    folder = artifact(backend, tmp_path)
    assert "--cuda-graph" in refused(runner, folder, "--cuda-graph", code=2)


@pytest.mark.parametrize("names", [("logits", "negative"), ("negative", "logits")])
def test_outputs_are_taken_by_their_names(
    names: tuple[str, str], backend: str, runner: Path, tmp_path: Path
) -> None:
    folder = with_negative(backend, tmp_path / "a", pair(names))
    outputs = check(runner, folder)["outputs"]
    assert [output["name"] for output in outputs] == ["logits", "negative"]
    given, returned = tmp_path / "x.npy", tmp_path / "y.safetensors"
    x = torch.randn(70, 1, 2, 2)
    np.save(given, x.numpy())
    code, _, err = run(runner, folder, "--input", given, "--output", returned)
    assert (code, err) == (0, "")
    tensors = load_file(returned)
    torch.testing.assert_close(tensors["logits"], x.flatten(1) @ weights())
    assert torch.equal(tensors["negative"], -tensors["logits"])
    assert run(runner, folder, "--iterations", 2)[0] == 0


def test_an_output_that_is_not_there_is_named(backend: str, runner: Path, tmp_path: Path) -> None:
    renamed = pair()
    renamed.graph.node[-1].output[0] = renamed.graph.output[1].name = "positive"
    line = refused(runner, with_negative(backend, tmp_path / "a", renamed), "--check", code=3)
    assert "the model has no output 'negative'" in line
    line = refused(runner, with_negative(backend, tmp_path / "b", model()), "--check", code=3)
    assert "1 inputs and 1 outputs, the manifest says 1 and 2" in line
    line = refused(runner, artifact(backend, tmp_path / "c", pair()), "--check", code=3)
    assert "1 inputs and 2 outputs, the manifest says 1 and 1" in line


def test_exchanged_names_are_found(backend: str, runner: Path, tmp_path: Path) -> None:
    exchanged = pair()
    exchanged.graph.node[-2].output[0] = exchanged.graph.node[-1].input[0] = "negative"
    exchanged.graph.node[-1].output[0] = "logits"
    assert run(runner, with_negative(backend, tmp_path, exchanged), "--check")[0] == 1


def test_one_tensor_under_two_names(backend: str, runner: Path, tmp_path: Path) -> None:
    """OpenVINO gives both outputs both names; each is written all the same."""
    alias = pair()
    alias.graph.node[-1].op_type = "Identity"
    folder = artifact(backend, tmp_path, alias)
    golden = read_tensors(str(folder / GOLDEN), GOLDEN)
    write_tensors(folder / GOLDEN, {**golden, "oracle/negative": golden["oracle/logits"].clone()})
    changes = both(more_output("negative", [3]), put("files", file_entries(folder)))
    rewrite(folder, changes)
    check(runner, folder)
