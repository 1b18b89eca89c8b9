"""zoo-run's OpenVINO engine, on small ONNX files made here."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from compile.artifact.manifest import GOLDEN, Manifest
from compile.artifact.publishing import file_entries
from compile.artifact.tensors import read_tensors, write_tensors
from tests.support.forgery import rewrite
from tests.support.manifests import both, put
from tests.support.output_manifests import more_output
from tests.support.runner import check, golden_input, refused, run, weights, write_artifact

if find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)

import onnx
from onnx import TensorProto, helper, numpy_helper

BF16_FLOOR = 2e-2


def model(batch: int | str = "batch", *, byte_input: bool = False) -> onnx.ModelProto:
    """Return `flatten(x) @ weights()`; of bytes, `flatten(x) / 255`."""
    initializers = [numpy_helper.from_array(weights().numpy(), "w")]
    nodes = []
    name = "input"
    if byte_input:
        initializers.append(numpy_helper.from_array(torch.tensor(255.0).numpy(), "scale"))
        nodes.append(helper.make_node("Cast", [name], ["cast"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Div", ["cast", "scale"], ["scaled"]))
        name = "scaled"
    nodes.append(helper.make_node("Flatten", [name], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "w"], ["logits"]))
    kind, shape = (TensorProto.UINT8, (2, 2, 1)) if byte_input else (TensorProto.FLOAT, (1, 2, 2))
    inputs = [helper.make_tensor_value_info("input", kind, [batch, *shape])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def program(low: int, high: int, file: str = "model.onnx") -> dict[str, Any]:
    """Return one entry of the manifest's `programs`."""
    return {"file": file, "batch": [low, high], "entry": None}


def artifact(folder: Path, content: onnx.ModelProto | bytes | None = None, **changes: Any) -> Path:
    """Write an artifact of one dynamic model."""
    proto = model() if content is None else content
    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    return write_artifact(folder, {"model.onnx": data}, [program(1, 64)], **changes)


def offers(precision: str) -> bool:
    """Whether OpenVINO computes in `precision` on this CPU."""
    import openvino

    return precision in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_it_checks_and_measures(runner: Path, tmp_path: Path) -> None:
    folder = artifact(tmp_path)
    assert check(runner, folder)["verdict"] == "PASSED"
    for batch in (1, 5, 64):
        code, out, err = run(runner, folder, "--batch", batch, "--iterations", 3, "--json", "-")
        assert code == 0, err
        report = json.loads(out)
        assert (report["batch"], report["output_stable"]) == (batch, True)
        assert report["conditions"]["runtime"].startswith("OpenVINO 20")
        assert report["conditions"]["tcmalloc"]


def test_a_planted_fault_is_found(runner: Path, tmp_path: Path) -> None:
    wrong = model()
    tensor = weights()
    tensor[1, 2] += 1e-4
    wrong.graph.initializer[0].CopyFrom(numpy_helper.from_array(tensor.numpy(), "w"))
    code, out, _ = run(runner, artifact(tmp_path, wrong), "--check")
    assert code == 1 and "FAILED" in out


def test_outputs_are_the_models_own(runner: Path, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "a")
    x = torch.randn(130, 1, 2, 2)
    np.save(tmp_path / "x.npy", x.numpy())
    code, _, err = run(
        runner, folder, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy"
    )
    assert code == 0, err
    y = torch.from_numpy(np.load(tmp_path / "y.npy"))
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, x.flatten(1) @ weights())


def test_bytes_are_read_as_they_are(runner: Path, tmp_path: Path) -> None:
    folder = artifact(tmp_path, model(byte_input=True), byte_input=True)
    check(runner, folder)
    other = artifact(tmp_path / "other", model(), byte_input=True)
    assert "the manifest says u8" in refused(runner, other, "--check", code=3)


def test_of_overlapping_programs_the_first_that_answers_runs(runner: Path, tmp_path: Path) -> None:
    files = {"one.onnx": model(1).SerializeToString(), "many.onnx": model().SerializeToString()}
    programs = [program(1, 1, "one.onnx"), program(1, 64, "many.onnx")]
    folder = write_artifact(tmp_path, files, programs)
    names = [(entry["file"], entry["batch"]) for entry in check(runner, folder)["programs"]]
    assert names == [("one.onnx", 1), ("many.onnx", 16)]
    assert check(runner, folder, "--batch", 1)["file"] == "one.onnx"
    assert check(runner, folder, "--batch", 2)["file"] == "many.onnx"


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


@pytest.mark.parametrize("place", ["absolute", "beside"])
def test_weights_in_other_files_are_not_read(place: str, runner: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.bin"
    outside.write_bytes(weights().numpy().tobytes())
    content = model()
    tensor = content.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", str(outside) if place == "absolute" else "outside.bin"
    folder = artifact(tmp_path / "a", content)
    assert "keeps weights in other files" in refused(runner, folder, "--check", code=3)


@pytest.mark.parametrize("content", [b"", b"<net></net>", b"junk" * 99])
def test_what_is_no_onnx_file(content: bytes, runner: Path, tmp_path: Path) -> None:
    assert "no ONNX file" in refused(runner, artifact(tmp_path, content), "--check", code=3)


def test_its_own_errors_are_one_line(runner: Path, tmp_path: Path) -> None:
    content = model()
    content.graph.node[-1].op_type = "NoSuchOperator"
    line = refused(runner, artifact(tmp_path / "a", content), "--check", code=3)
    assert "model.onnx: OpenVINO cannot load it" in line and "NoSuchOperator" in line
    narrow = artifact(tmp_path / "b", model(2))
    line = refused(runner, narrow, "--check", "--batch", 3, code=3)
    assert "model.onnx: OpenVINO cannot run it" in line
    np.save(tmp_path / "x.npy", golden_input().double().numpy())
    assert "float64" in refused(runner, narrow, "--input", tmp_path / "x.npy", code=3)


def test_graphs_are_for_gpus(runner: Path, tmp_path: Path) -> None:
    assert "--cuda-graph" in refused(runner, artifact(tmp_path), "--cuda-graph", code=2)


def test_zoo_run_starts_without_it(runner: Path, tmp_path: Path) -> None:
    """It is a module beside zoo-run; where that is gone, only its artifacts are refused."""
    alone = Path(shutil.copy(runner, tmp_path / "zoo-run"))
    assert run(alone, "--version")[0] == 0
    line = refused(alone, artifact(tmp_path / "a"), "--check", code=4)
    assert "needs OpenVINO" in line and "pip install openvino" in line


def pair(names: tuple[str, ...] = ("logits", "negative")) -> onnx.ModelProto:
    """Return `logits`, and the same values negated: two outputs of one shape."""
    content = model()
    graph = content.graph
    graph.node.append(helper.make_node("Neg", ["logits"], ["negative"]))
    shape = ["batch", 3]
    graph.output.append(helper.make_tensor_value_info("negative", TensorProto.FLOAT, shape))
    by_name = {output.name: output for output in graph.output}
    found = [by_name[name] for name in names]
    del graph.output[:]
    graph.output.extend(found)
    return content


def with_negative(folder: Path, content: onnx.ModelProto) -> Path:
    """An artifact whose manifest has the outputs `logits` and `negative`, in this order."""
    artifact(folder, content)
    golden = read_tensors(str(folder / GOLDEN), GOLDEN)
    write_tensors(folder / GOLDEN, {**golden, "oracle/negative": -golden["oracle/logits"]})

    def change(manifest: Manifest) -> None:
        both(more_output("negative", [3]), put("files", file_entries(folder)))(manifest)
        logits, negative = manifest["parity"]["outputs"]
        negative["bounds"] = logits["bounds"]

    rewrite(folder, change)
    return folder


@pytest.mark.parametrize("names", [("logits", "negative"), ("negative", "logits")])
def test_outputs_are_taken_by_their_names(
    names: tuple[str, str], runner: Path, tmp_path: Path
) -> None:
    folder = with_negative(tmp_path / "a", pair(names))
    outputs = check(runner, folder)["outputs"]
    assert [output["name"] for output in outputs] == ["logits", "negative"]
    given, returned = tmp_path / "x.npy", tmp_path / "y.safetensors"
    x = torch.randn(70, 1, 2, 2)
    np.save(given, x.numpy())
    code, _, err = run(runner, folder, "--input", given, "--output", returned)
    assert code == 0, err
    tensors = load_file(returned)
    torch.testing.assert_close(tensors["logits"], x.flatten(1) @ weights())
    assert torch.equal(tensors["negative"], -tensors["logits"])
    assert run(runner, folder, "--iterations", 2)[0] == 0


def test_an_output_that_is_not_there_is_named(runner: Path, tmp_path: Path) -> None:
    renamed = pair()
    renamed.graph.node[-1].output[0] = renamed.graph.output[1].name = "positive"
    line = refused(runner, with_negative(tmp_path / "a", renamed), "--check", code=3)
    assert "the model has no output 'negative'" in line
    line = refused(runner, with_negative(tmp_path / "b", model()), "--check", code=3)
    assert "1 inputs and 1 outputs, the manifest says 1 and 2" in line
    line = refused(runner, artifact(tmp_path / "c", pair()), "--check", code=3)
    assert "1 inputs and 2 outputs, the manifest says 1 and 1" in line


def test_exchanged_names_are_found(runner: Path, tmp_path: Path) -> None:
    exchanged = pair()
    exchanged.graph.node[-2].output[0] = exchanged.graph.node[-1].input[0] = "negative"
    exchanged.graph.node[-1].output[0] = "logits"
    assert run(runner, with_negative(tmp_path, exchanged), "--check")[0] == 1


def test_one_tensor_under_two_names(runner: Path, tmp_path: Path) -> None:
    """OpenVINO gives both outputs both names; each is written all the same."""
    alias = pair()
    alias.graph.node[-1].op_type = "Identity"
    folder = artifact(tmp_path, alias)
    golden = read_tensors(str(folder / GOLDEN), GOLDEN)
    write_tensors(folder / GOLDEN, {**golden, "oracle/negative": golden["oracle/logits"].clone()})
    changes = both(more_output("negative", [3]), put("files", file_entries(folder)))
    rewrite(folder, changes)
    check(runner, folder)
