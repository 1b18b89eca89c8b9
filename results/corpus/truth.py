"""If an .onnx is refused, who is right: the exporter, or the program that runs its graph?

onnx's reference evaluator runs the graph in double. If it agrees with the network in double, the
exporter is right, and what is left is rounding or a kernel. Then the graph is run once more node by
node, in onnxruntime and in double, to name the first node that is off.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy
import onnx
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from compile.artifact.outputs import Layout
from compile.proof import parity
from compile.proof.golden import Golden
from compile.proof.task import Task
from compile.returned import as_returned

AGREES = 1e-9
"""Relative difference between two graphs in double that compute the same."""
SAMPLES = 4
"""How many samples are compared, the worst first: the evaluator is slow."""
_JUMP = 8.0
"""A node is off if its error is more than so many times its inputs' error and a rounding step."""
_EPS = 2.0**-23


def truth_of(folder: Path, task: Task, ratios: list[float]) -> str:
    """One sentence on the artifact in `folder`; `ratios` are error / bound of each sample."""
    path = folder / "model.onnx"
    if not path.exists():
        return "not decided: only an .onnx can be run in double"
    worst = sorted(range(len(ratios)), key=ratios.__getitem__, reverse=True)[:SAMPLES]
    golden = task.golden.take(torch.isin(torch.arange(len(ratios)), torch.tensor(worst)))
    bound = task.bounds.bound[sorted(worst)]
    model = onnx.load(path)
    double = ReferenceEvaluator(in_double(model))
    rms = golden.layout.rms
    samples = torch.split(golden.pixels, 1)
    answers = torch.cat([_answer(double, golden.layout, sample) for sample in samples])
    exact = _exact(task, golden)
    size = rms(exact)[:, golden.layout.owners].clamp_min(1e-300)
    apart = float((rms(answers - exact) / size).max())
    share = float(parity.share(rms(answers - golden.oracle), bound).max())
    if not (apart <= AGREES or share <= 0.5):
        return f"the exporter is wrong: its graph in double is {share:.3g} bounds off"
    why = f"its graph in double is within {apart:.1e} of the network"
    manifest = json.loads((folder / "manifest.json").read_text())
    if manifest["backend"] != "onnx":  # the kernels of OpenVINO cannot be looked into this way
        return f"the exporter is right ({why})"
    row = sorted(worst).index(worst[0])
    return f"the exporter is right ({why}); {first_off(model, golden.pixels[row : row + 1])}"


def _answer(double: ReferenceEvaluator, layout: Layout, sample: torch.Tensor) -> torch.Tensor:
    outputs = double.run(list(layout.names), {"input": sample.double().numpy()})
    return layout.join(as_returned([torch.from_numpy(each) for each in outputs])).double()


def _exact(task: Task, golden: Golden) -> torch.Tensor:
    """What the graph was made from, in double; the oracle itself where that cannot run so.

    Folding rounds weights, so that the network as it was given differs by more than AGREES.
    """
    if task.quantization is not None:
        return golden.oracle
    try:
        with torch.no_grad():
            module = copy.deepcopy(task.module).double().eval()
            samples = torch.split(golden.pixels.double(), 1)
            return torch.cat([golden.layout.join(module(sample)) for sample in samples])
    except (RuntimeError, AssertionError):  # it insists on float32
        return golden.oracle


def in_double(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose float32 constants, casts, inputs and outputs are double."""
    lifted = onnx.ModelProto()
    lifted.CopyFrom(model)
    graph = lifted.graph
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in graph.initializer:
        _lift(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _lift(attribute.t)
            elif node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    return lifted


def _lift(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        values = numpy_helper.to_array(tensor).astype(numpy.float64)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def first_off(model: onnx.ModelProto, sample: torch.Tensor) -> str:
    """The first node whose error in onnxruntime is far above that of its inputs.

    `sample` is (1, C, H, W). Optimisations are off, so a fault that only they make is not found.
    """
    single = _all_outputs(model)
    names = [value.name for value in single.graph.output]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        single.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    ran = session.run(names, {"input": sample.float().numpy()})
    exact = ReferenceEvaluator(in_double(single)).run(names, {"input": sample.double().numpy()})
    pairs = zip(ran, exact, strict=True)
    errors = dict(zip(names, (relative(one, other) for one, other in pairs), strict=True))
    largest = (0.0, "")
    for node in model.graph.node:
        error = max(errors.get(name, 0.0) for name in node.output)
        before = max((errors.get(name, 0.0) for name in node.input), default=0.0)
        jump = error / max(before, _EPS)
        said = f"{node.op_type} {node.name or node.output[0]} ({before:.1e} -> {error:.1e})"
        if jump > _JUMP:
            return f"the first node off is {said}"
        largest = max(largest, (jump, said))
    return f"no node is off by itself; the error grows most in {largest[1]}"


def relative(one: Any, exact: Any) -> float:
    """Root mean square of the difference over that of the exact values; 0 for other numbers."""
    if numpy.asarray(one).dtype != numpy.float32:
        return 0.0
    size = float(numpy.sqrt(numpy.mean(numpy.square(exact)))) if numpy.size(exact) else 0.0
    if not size:
        return 0.0
    return float(numpy.sqrt(numpy.mean(numpy.square(one.astype(numpy.float64) - exact)))) / size


def _all_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose every value is an output."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    known = {value.name for value in copied.graph.output}
    names = [name for node in copied.graph.node for name in node.output if name]
    copied.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in known
    )
    return copied
