"""The constants that an .onnx computes with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_PASSED_ON = frozenset(
    ("Cast", "Concat", "Expand", "Identity", "Reshape", "Squeeze", "Tile", "Transpose", "Unsqueeze")
)
"""Operators that pass values on and compute nothing from them."""


def read(path: str) -> Iterator[torch.Tensor]:
    """The initializers of a file, int8 or floating point, except for those that are outputs.

    A network may return a constant, such as the positions of anchors. Then it has the type of an
    output, whatever the precision of the weights is.
    """
    import onnx
    import torch

    kinds = onnx.TensorProto
    graph = onnx.load(path).graph
    answers = _answers(graph)
    for tensor in graph.initializer:
        if tensor.name in answers:
            continue
        array = onnx.numpy_helper.to_array(tensor)
        if tensor.data_type == kinds.BFLOAT16:  # a type that numpy does not have
            yield torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)
        elif tensor.data_type in (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.INT8):
            yield torch.from_numpy(array.copy())


def _answers(graph: Any) -> set[str]:
    """Names of the tensors that reach the outputs unchanged, and that nothing else reads."""
    readers = Counter(name for node in graph.node for name in node.input)
    answers: set[str] = set()
    passed_on: Counter[str] = Counter()
    for output in graph.output:
        if not readers[output.name]:
            answers.add(output.name)
    for node in reversed(graph.node):  # a graph's nodes are in the order in which they run
        if node.op_type in _PASSED_ON and answers.issuperset(node.output):
            passed_on.update(node.input)
            answers |= {name for name in node.input if passed_on[name] == readers[name]}
    return answers
