"""Faults of OpenVINO 2026.4.1 that the proof found, each in a graph of a few nodes.

The proof refuses the networks of tests/networks/misread.py, which have them. If a fault is
repaired, its test fails here: then the network is a sound one for OpenVINO, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from compile.backends import openvino

DRAWN = np.random.default_rng(0)


def drawn(*shape: int) -> Any:
    return DRAWN.standard_normal(shape).astype(np.float32)


def error_of(nodes: list[Any], inputs: dict[str, Any], right: Any, **weights: Any) -> float:
    """How far OpenVINO's answer y is from `right`, relative to that."""
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape)
        for name, value in {**inputs, "y": right}.items()
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "fault", ends[:-1], ends[-1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    core = openvino._core()
    read = core.read_model(model.SerializeToString(), b"")
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    [answer] = compiled(inputs).values()
    return float(np.sqrt(((answer - right) ** 2).mean() / (right**2).mean()))


@pytest.mark.parametrize(
    ("tokens", "heads", "is_wrong"), [(4, 4, True), (12, 12, True), (5, 4, False)]
)
def test_attention_over_as_many_tokens_as_heads(tokens: int, heads: int, is_wrong: bool) -> None:
    """Attention and the transposition behind it become one operation. If two extents are the same,
    it reads one for the other."""
    inputs = {name: drawn(1, heads, tokens, 16) for name in ("query", "key", "value")}
    nodes = [
        helper.make_node("Transpose", ["key"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("Mul", ["query", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "turned"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "value"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["y"], perm=[0, 2, 1, 3]),
    ]
    query, key, value = (torch.tensor(each).double() for each in inputs.values())
    right = ((query / 4 @ key.transpose(2, 3)).softmax(-1) @ value).transpose(1, 2).numpy()
    error = error_of(nodes, inputs, right, scale=np.array(0.25, np.float32))
    assert error > 0.1 if is_wrong else error < 1e-5


@pytest.mark.parametrize(("size", "is_wrong"), [(7, True), (9, False)])
def test_a_factor_for_each_pixel_before_a_kernel_as_large(size: int, is_wrong: bool) -> None:
    """The factors are multiplied into the kernel, as if they were for its places."""
    x, factor, kernel = drawn(1, 2, size, size), 1 + DRAWN.random((size, size)), drawn(1, 2, 7, 7)
    factor = factor.astype(np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "kernel"], ["y"], pads=[3, 3, 3, 3]),
    ]
    scaled = torch.tensor(x).double() * torch.tensor(factor).double()
    right = torch.conv2d(scaled, torch.tensor(kernel).double(), padding=3).numpy()
    error = error_of(nodes, {"x": x}, right, factor=factor, kernel=kernel)
    assert error > 0.1 if is_wrong else error < 1e-5
