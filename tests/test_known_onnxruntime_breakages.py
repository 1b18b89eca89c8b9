"""Faults of ONNX Runtime 1.32.0 that the proof found, each in a graph of a few nodes.

If a fault is repaired, its test fails here: then the networks that have it are sound ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def pool_between_bytes(ceil_mode: int, count_include_pad: int) -> bytes:
    """An average pool whose input and output are rounded to whole numbers."""
    numbers = {"scale": np.float32(1), "zero": np.uint8(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *numbers], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", *numbers], ["whole"]),
        helper.make_node(
            *("AveragePool", ["whole"], ["pooled"]),
            **{"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
            **{"ceil_mode": ceil_mode, "count_include_pad": count_include_pad},
        ),
        helper.make_node("QuantizeLinear", ["pooled", *numbers], ["pooled_bytes"]),
        helper.make_node("DequantizeLinear", ["pooled_bytes", *numbers], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"]
    constants = [numpy_helper.from_array(np.asarray(each), name) for name, each in numbers.items()]
    graph = helper.make_graph(nodes, "pool", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", 19)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def answer(model: bytes, level: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": IMAGE})[0]


LEVEL = onnxruntime.GraphOptimizationLevel
IMAGE = np.full((1, 1, 8, 8), 36, np.float32)


@pytest.mark.parametrize(("ceil_mode", "padding_counts"), [(1, 1), (0, 1), (1, 0)])
def test_a_padded_pool_rounded_up_in_int8(ceil_mode: int, padding_counts: int) -> None:
    """The last window of a row covers 6 places, that in the corner 4. In float ONNX Runtime
    divides by so many. In int8 it divides by 9."""
    model = pool_between_bytes(ceil_mode, padding_counts)
    [right] = ReferenceEvaluator(model).run(None, {"x": IMAGE})
    assert np.array_equal(answer(model, LEVEL.ORT_DISABLE_ALL), right)
    fused = answer(model, LEVEL.ORT_ENABLE_ALL)
    if ceil_mode and padding_counts:
        assert (right[0, 0, -1, 2], right[0, 0, -1, -1]) == (18, 9)
        assert (fused[0, 0, -1, 2], fused[0, 0, -1, -1]) == (12, 4)
    else:
        assert np.array_equal(fused, right)
