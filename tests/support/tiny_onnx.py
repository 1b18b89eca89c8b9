"""Small ONNX files, and artifacts of them for each engine of zoo-run that runs such files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from compile.artifact.manifest import GOLDEN, Manifest
from compile.artifact.publishing import file_entries
from compile.artifact.tensors import read_tensors, write_tensors
from tests.support.forgery import rewrite
from tests.support.manifests import both, put
from tests.support.output_manifests import more_output
from tests.support.runner import weights, write_artifact


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


def artifact(
    folder: Path,
    content: onnx.ModelProto | bytes | None = None,
    *,
    backend: str,
    batch: tuple[int, int] = (1, 64),
    **changes: Any,
) -> Path:
    """Write an artifact of one model, which is dynamic unless `content` is another."""
    proto = model() if content is None else content
    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    programs = [program(*batch)]
    return write_artifact(folder, {"model.onnx": data}, programs, backend=backend, **changes)


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


def with_negative(folder: Path, content: onnx.ModelProto, *, backend: str) -> Path:
    """An artifact whose manifest has the outputs `logits` and `negative`, in this order."""
    artifact(folder, content, backend=backend)
    golden = read_tensors(str(folder / GOLDEN), GOLDEN)
    write_tensors(folder / GOLDEN, {**golden, "oracle/negative": -golden["oracle/logits"]})

    def change(manifest: Manifest) -> None:
        both(more_output("negative", [3]), put("files", file_entries(folder)))(manifest)
        logits, negative = manifest["parity"]["outputs"]
        negative["bounds"] = logits["bounds"]

    rewrite(folder, change)
    return folder
