"""Quantised ONNX graphs: are they symmetric, FP8 made of INT8, and what they really compute in.

A quantised tensor is QuantizeLinear then DequantizeLinear, a quantised weight an 8-bit
initializer then DequantizeLinear. TensorRT takes the pairs as orders: a convolution between two
of them runs in 8 bits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compile.errors import CheckFailed
from compile.precision import PRECISIONS

if TYPE_CHECKING:
    import numpy
    from onnx import ModelProto, NodeProto, TensorProto

FP8_RATIO = 127 / 448
"""From a scale of INT8 to that of FP8: the largest numbers of the two stand for the same value."""

_FP8_OPSET = 19
_PAIR = ("QuantizeLinear", "DequantizeLinear")
_SAME_TYPE = ("Transpose", "Reshape", "Identity", "Flatten")
_MULTIPLY = ("Conv", "Gemm", "MatMul")


class Graph:
    """A ModelProto with its constants and producers by name. Changes go into the model."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.constants: dict[str, TensorProto] = {
            tensor.name: tensor for tensor in model.graph.initializer
        }
        self.producers: dict[str, NodeProto] = {
            output: node for node in model.graph.node for output in node.output
        }

    def pairs(self) -> list[NodeProto]:
        """The nodes that quantise and dequantise, in order."""
        return [node for node in self.model.graph.node if node.op_type in _PAIR]

    def constant(self, node: NodeProto, position: int, what: str) -> TensorProto:
        """The constant input of a node, or CheckFailed."""
        name = node.input[position] if len(node.input) > position else ""
        if name not in self.constants:
            raise CheckFailed(f"{node.name}: its {what} is not a constant of the graph")
        return self.constants[name]

    def add(self, tensor: TensorProto) -> str:
        """Make `tensor` a constant and return its name."""
        if tensor.name not in self.constants:
            self.constants[tensor.name] = tensor
            self.model.graph.initializer.append(tensor)
        return str(tensor.name)

    def clean(self) -> None:
        """Drop quantising nodes and constants that nothing reads, and types that may be stale."""
        graph = self.model.graph
        while True:
            read = {name for node in graph.node for name in node.input}
            read.update(output.name for output in graph.output)
            idle = [n for n in graph.node if n.op_type in _PAIR and not read & set(n.output)]
            if not idle:
                break
            for node in idle:
                graph.node.remove(node)
        for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
            del self.constants[tensor.name]
            graph.initializer.remove(tensor)
        del graph.value_info[:]


def check_symmetric(model: ModelProto) -> None:
    """Raise CheckFailed unless every pair is signed 8 bits around zero: all TensorRT takes."""
    from onnx import TensorProto, numpy_helper

    graph = Graph(model)
    for node in graph.pairs():
        graph.constant(node, 1, "scale")
        zero = graph.constant(node, 2, "zero point")
        kind = TensorProto.DataType.Name(zero.data_type)
        if zero.data_type != TensorProto.INT8:
            raise CheckFailed(f"{node.name} quantises to {kind}; TensorRT takes INT8 only")
        if numpy_helper.to_array(zero).any():
            raise CheckFailed(f"{node.name} has a zero point beside 0; TensorRT takes 0 only")


def to_fp8(model: ModelProto) -> ModelProto:
    """Return a copy whose INT8 pairs are FLOAT8E4M3FN.

    Weights are rounded once more, from their INT8 value: that costs less than FP8's own step.
    A convolution that has no FP8 kernel gets float32 back, its weights as INT8 left them: the
    stem with its three channels, and groups of fewer than 16.
    """
    import onnx

    check_symmetric(model)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < _FP8_OPSET:
        raise CheckFailed(f"the graph has opset {opset}; FP8 needs {_FP8_OPSET} or newer")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = Graph(changed)
    for node in changed.graph.node:
        if node.op_type == "Conv" and not _has_fp8_kernel(graph, node):
            _release(graph, node)
    graph.clean()
    for node in graph.pairs():
        _requantise(graph, node)
    graph.clean()
    onnx.checker.check_model(changed, full_check=True)
    return changed


def _has_fp8_kernel(graph: Graph, convolution: NodeProto) -> bool:
    """Channels in whole sixteens and a window of at most 32 pixels: NVIDIA's own tools ask that."""
    weight = _source(graph, convolution.input[1])
    shape = tuple(weight.dims) if weight is not None else (0,)
    channels, window = shape[:2], math.prod(shape[2:])
    return bool(all(size >= 16 and size % 16 == 0 for size in channels) and window <= 32)


def _release(graph: Graph, convolution: NodeProto) -> None:
    """Let a convolution read its input and its weight past their pairs, in float."""
    from onnx import numpy_helper

    given = graph.producers.get(convolution.input[0])
    if given is not None and given.op_type == "DequantizeLinear":
        quantise = graph.producers.get(given.input[0])
        if quantise is not None:
            convolution.input[0] = quantise.input[0]
    given = graph.producers.get(convolution.input[1])
    if given is not None and given.op_type == "DequantizeLinear":
        stored = _source(graph, convolution.input[1])
        assert stored is not None  # else its shape would not have been known
        values = numpy_helper.to_array(stored)
        if given.input[0] in graph.constants:
            values = values * _along(graph, given, values.ndim)
        name = f"{given.output[0]}.float"
        convolution.input[1] = graph.add(numpy_helper.from_array(values.astype("float32"), name))


def _requantise(graph: Graph, node: NodeProto) -> None:
    """Turn one half of a pair into FP8: scale, zero point, and the weight if it holds one."""
    from onnx import TensorProto, numpy_helper

    scale = graph.constant(node, 1, "scale")
    zero = graph.constant(node, 2, "zero point")
    if node.op_type == "DequantizeLinear" and node.input[0] in graph.constants:
        weight = graph.constants[node.input[0]]
        values = numpy_helper.to_array(weight).astype("float32") / FP8_RATIO
        node.input[0] = graph.add(_fp8(values, f"{weight.name}.fp8"))
    values = numpy_helper.to_array(scale)
    small = (values * FP8_RATIO).astype(values.dtype)  # constants are shared: never in place
    node.input[1] = graph.add(numpy_helper.from_array(small, f"{scale.name}.fp8"))
    none = TensorProto(
        name=f"{zero.name}.fp8",
        data_type=TensorProto.FLOAT8E4M3FN,
        dims=zero.dims,
        raw_data=bytes(int(math.prod(zero.dims))),
    )
    node.input[2] = graph.add(none)


def _fp8(values: numpy.ndarray[Any, Any], name: str) -> TensorProto:
    """`values` as FLOAT8E4M3FN, to nearest even, the largest in place of what lies beyond."""
    import torch
    from onnx import TensorProto

    rounded = torch.from_numpy(values.clip(-448, 448)).to(torch.float8_e4m3fn)
    raw = rounded.view(torch.uint8).numpy().tobytes()
    dims = values.shape
    return TensorProto(name=name, data_type=TensorProto.FLOAT8E4M3FN, dims=dims, raw_data=raw)


def _along(graph: Graph, node: NodeProto, rank: int) -> numpy.ndarray[Any, Any]:
    """The scale of a DequantizeLinear, shaped to multiply a tensor of `rank` dimensions."""
    from onnx import numpy_helper

    scale = numpy_helper.to_array(graph.constant(node, 1, "scale"))
    axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 1)
    return scale.reshape([-1 if i == axis % rank else 1 for i in range(rank)]) if rank else scale


def _source(graph: Graph, name: str) -> TensorProto | None:
    """The constant that a tensor comes from, through pairs and reshapes; None for an activation."""
    while name not in graph.constants:
        node = graph.producers.get(name)
        if node is None or node.op_type not in (*_PAIR, *_SAME_TYPE):
            return None
        name = node.input[0]
    return graph.constants[name]


def _stored_type(graph: Graph, name: str) -> int | None:
    """The type in which a multiplication is given a tensor: of its pair, else of its constant."""
    while name not in graph.constants:
        node = graph.producers.get(name)
        if node is not None and node.op_type == "DequantizeLinear":
            return graph.constant(node, 2, "zero point").data_type
        if node is None or node.op_type not in _SAME_TYPE:
            return None
        name = node.input[0]
    return graph.constants[name].data_type


def precision_of(model: ModelProto) -> str:
    """The precision of a graph's convolutions and matrices, read from their weights.

    8 bits count where the input is quantised too; then they must hold most of the weights, since
    a few layers may stay in float. Floats may not be mixed. Anything else is CheckFailed.
    """
    sizes: Counter[str] = Counter()
    for name, size in _multiplications(model):
        if size:
            sizes[name] += size
    if not sizes:
        raise CheckFailed("the graph multiplies by no weights")
    (most, _), *others = sizes.most_common()
    held = ", ".join(f"{size} in {name}" for name, size in sizes.most_common())
    if most not in PRECISIONS or (others and not _on_grid(most)):
        raise CheckFailed(f"the graph's weights are mixed: {held}; one precision must prevail")
    return most


def count_others(model: ModelProto, precision: str) -> int:
    """How many multiplications of the graph are in another precision than `precision`.

    At a precision of 8 bits, those of two activations count too, unless both are quantised.
    """
    return sum(name != precision for name, _ in _multiplications(model))


def _multiplications(model: ModelProto) -> Iterator[tuple[str, int]]:
    """(precision, size of its weight) of each convolution and matrix; size 0 without a weight."""
    from onnx import TensorProto

    names: dict[int, str] = {
        TensorProto.FLOAT: "fp32",
        TensorProto.FLOAT16: "fp16",
        TensorProto.BFLOAT16: "bf16",
        TensorProto.INT8: "int8",
        TensorProto.FLOAT8E4M3FN: "fp8",
    }
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type not in _MULTIPLY:
            continue
        weight = _source(graph, node.input[1])
        kind = _stored_type(graph, node.input[1])
        name = names.get(kind or 0, str(kind))
        if _on_grid(name) and _stored_type(graph, node.input[0]) != kind:
            name += " weights alone"
        yield name, int(math.prod(weight.dims)) if weight is not None else 0


def _on_grid(name: str) -> bool:
    return name in PRECISIONS and PRECISIONS[name].quantised
