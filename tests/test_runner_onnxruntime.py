"""What zoo-run's ONNX Runtime engine does that no other does; the rest is in test_runner_onnx.py.

The engine has its own declaration of ONNX Runtime's functions: each of them is called here.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from compile.api import compile_module, load
from compile.proof.prepared import PreparedModel
from compile.returned import as_tuple
from compile.runner import capabilities, run_inputs
from compile.spec import CompileSpec
from tests.support import tiny_onnx
from tests.support.networks import SHAPE, small_net, small_prepared
from tests.support.runner import check, refused, run, write_artifact
from tests.support.tiny_onnx import model, program

if find_spec("onnxruntime") is None:
    pytest.skip("onnxruntime is not installed", allow_module_level=True)


def artifact(folder: Path, content: onnx.ModelProto | bytes | None = None, **changes: Any) -> Path:
    return tiny_onnx.artifact(folder, content, backend="onnx", **changes)


def test_zoo_run_names_it(runner: Path) -> None:
    assert {"backend": "onnx", "files": [".onnx"]} in capabilities(runner)["engines"]
    assert "onnx .onnx" in run(runner, "--version")[1]


def test_zoo_run_starts_without_it(runner: Path, tmp_path: Path) -> None:
    """The library is opened by its name for an artifact of it; no other artifact needs it."""
    alone = tmp_path / "zoo-run"
    alone.write_bytes(runner.read_bytes().replace(b"libonnxruntime.so", b"libonnxruntime.no"))
    alone.chmod(0o755)
    assert run(alone, "--version")[0] == 0
    line = refused(alone, artifact(tmp_path / "a"), "--check", code=4)
    assert "needs ONNX Runtime: libonnxruntime.no" in line
    assert line.endswith("; pip install onnxruntime, then build zoo-run again\n")


def renamed() -> onnx.ModelProto:
    """Its input is called `x`."""
    content = model()
    content.graph.input[0].name = content.graph.node[0].input[0] = "x"
    return content


def flat() -> onnx.ModelProto:
    """It takes 1x4x1 for 1x2x2."""
    content = model()
    for dimension, extent in zip(
        content.graph.input[0].type.tensor_type.shape.dim[2:], (4, 1), strict=True
    ):
        dimension.dim_value = extent
    return content


def widened() -> onnx.ModelProto:
    """It gives four values for three."""
    content = model()
    content.graph.node[-1].output[0] = "three"
    first = helper.make_tensor("first", TensorProto.INT64, [1], [0])
    content.graph.initializer.append(first)
    content.graph.node.append(helper.make_node("Gather", ["three", "first"], ["more"], axis=1))
    content.graph.node.append(helper.make_node("Concat", ["three", "more"], ["logits"], axis=1))
    content.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
    return content


def test_what_the_manifest_says_of_inputs_and_outputs_holds(runner: Path, tmp_path: Path) -> None:
    def line(content: onnx.ModelProto, **changes: Any) -> str:
        folder = artifact(tmp_path / str(len(list(tmp_path.iterdir()))), content, **changes)
        return refused(runner, folder, "--check", code=3)

    assert "the model has no input 'input'" in line(renamed())
    wanted = "the manifest says float32 1:64x1x2x2; rebuild the artifact"
    assert f"input 'input' is float32 ?x1x4x1, {wanted}" in line(flat())
    assert f"input 'input' is float32 2x1x2x2, {wanted}" in line(model(2))
    assert "'input' is uint8 ?x2x2x1, the manifest says float32" in line(model(byte_input=True))
    wanted = "the manifest says float32 1:64x3; rebuild the artifact"
    assert f"output 'logits' is float32 ?x4, {wanted}" in line(widened())


def test_a_static_batch_is_that_of_the_program(runner: Path, tmp_path: Path) -> None:
    files = {"model.onnx": model(2).SerializeToString()}
    sound, narrow = (
        write_artifact(tmp_path / str(batch), files, [program(batch, batch)], backend="onnx")
        for batch in (2, 3)
    )
    assert check(runner, sound)["verdict"] == "PASSED"
    line = refused(runner, narrow, "--check", code=3)
    assert "is float32 2x1x2x2, the manifest says float32 3x1x2x2" in line


def test_a_size_that_only_a_call_shows_is_refused(runner: Path, tmp_path: Path) -> None:
    content = widened()
    nodes = content.graph.node
    nodes[-1].output[0] = "four"
    row = helper.make_tensor("row", TensorProto.INT64, [], [0])
    content.graph.initializer.append(row)
    nodes.append(helper.make_node("Gather", ["flat", "row"], ["given"]))
    nodes.append(helper.make_node("IsNaN", ["given"], ["lost"]))
    nodes.append(helper.make_node("Not", ["lost"], ["kept"]))
    nodes.append(helper.make_node("Compress", ["four", "kept"], ["logits"], axis=1))
    content.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "kept"
    line = refused(runner, artifact(tmp_path, content), "--check", code=3)
    assert "model.onnx: ONNX Runtime cannot run it" in line and "onnxruntime_src" not in line
    assert "output 'logits'" in line


def test_weights_that_end_too_early_are_one_line(runner: Path, tmp_path: Path) -> None:
    content = model()
    tensor = content.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-4]
    line = refused(runner, artifact(tmp_path, content), "--check", code=3)
    assert "model.onnx: ONNX Runtime cannot load it" in line


def test_a_newer_format_is_named(runner: Path, tmp_path: Path) -> None:
    content = model()
    content.ir_version = 99
    line = refused(runner, artifact(tmp_path, content), "--check", code=3)
    assert "ONNX Runtime cannot load it: Unsupported model IR version: 99" in line


def test_its_warnings_are_not_printed(runner: Path, tmp_path: Path) -> None:
    """It warns of a weight that nothing uses."""
    content = model()
    content.graph.initializer.append(helper.make_tensor("idle", TensorProto.FLOAT, [1], [0.0]))
    code, _, err = run(runner, artifact(tmp_path, content), "--check")
    assert (code, err) == (0, "")


def test_a_file_is_read_as_the_format_that_was_scanned(runner: Path, tmp_path: Path) -> None:
    """ONNX Runtime has a format of its own, and tells it by the letters at the fifth byte."""
    named = b"\x12\x06zoORTM" + model().SerializeToString()  # a first name of the producer
    assert named[4:8] == b"ORTM"
    check(runner, artifact(tmp_path, named))


@pytest.mark.parametrize(
    ("precision", "batch", "input_type", "outputs"),
    [
        ("fp32", (1, 4), "float32", None),
        ("fp32", (1, 1), "float32", {"maps": "relu1", "features": "relu3", "scores": "fc"}),
        ("fp16", (1, 4), "uint8", None),
        ("int8", (2, 2), "float32", None),
    ],
)
def test_it_computes_what_python_computes(
    precision: str,
    batch: tuple[int, int],
    input_type: str,
    outputs: dict[str, str] | None,
    runner: Path,
    tmp_path: Path,
) -> None:
    """The library and its settings are the same, so the bits are."""
    spec = CompileSpec(shape=SHAPE, precision=precision, batch=batch, input_type=input_type)
    module = PreparedModel(small_net(), SHAPE, outputs=outputs) if outputs else small_prepared()
    made = compile_module(module, spec, backend="onnx", root=tmp_path, runner=runner)
    assert made.manifest["parity"]["ran_in"] == ["python", "zoo-run"]
    noise = torch.randn(batch[1], *SHAPE, generator=torch.Generator().manual_seed(1))
    x = noise if input_type == "float32" else (noise.abs() * 99).byte().permute(0, 2, 3, 1)
    names = [output["name"] for output in made.manifest["outputs"]]
    x = x.contiguous()
    ours = load(made.path)(x)
    theirs = run_inputs(runner, made.path, x, torch.get_num_threads(), outputs=names)
    ours = tuple(ours.values()) if isinstance(ours, dict) else ours
    for one, other in zip(as_tuple(ours), as_tuple(theirs), strict=True):
        assert torch.equal(one, other)
    code, out, err = run(runner, made.path, "--duration", 0.05, "--json", "-")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["conditions"]["runtime"].startswith("ONNX Runtime 1.")
    assert report["latency_ms"]["n"] > 0 and report["output_stable"]
