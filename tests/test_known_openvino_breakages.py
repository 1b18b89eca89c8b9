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
from onnx.reference import ReferenceEvaluator

from compile.backends import openvino

DRAWN = np.random.default_rng(0)


def drawn(*shape: int) -> Any:
    return DRAWN.standard_normal(shape).astype(np.float32)


def error_of(
    nodes: list[Any], inputs: dict[str, Any], right: Any, *, any_batch: bool = False, **weights: Any
) -> float:
    """How far OpenVINO's answer y is from `right`, relative to that."""
    ends = [
        helper.make_tensor_value_info(
            name, onnx.TensorProto.FLOAT, ["batch" if any_batch else len(value), *value.shape[1:]]
        )
        for name, value in {**inputs, "y": right}.items()
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "fault", ends[:-1], ends[-1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
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


def rounded(name: str, x: str, scale: float) -> tuple[list[Any], dict[str, Any]]:
    """Steps that round x to bytes and come back, and their numbers."""
    numbers = {f"{name}_scale": np.float32(scale), f"{name}_zero": np.uint8(0)}
    nodes = [
        helper.make_node("QuantizeLinear", [x, *numbers], [f"{name}_bytes"]),
        helper.make_node("DequantizeLinear", [f"{name}_bytes", *numbers], [name]),
    ]
    return nodes, {key: np.asarray(value) for key, value in numbers.items()}


def kernel(name: str, *shape: int) -> tuple[list[Any], dict[str, Any]]:
    """A weight of 7 bits, whose products no CPU cuts off."""
    scales = (0.001 + 0.001 * DRAWN.random(shape[0])).astype(np.float32)
    numbers = {
        f"{name}_bytes": DRAWN.integers(-64, 64, shape, dtype=np.int8),
        f"{name}_scale": scales,
        f"{name}_zero": np.zeros(shape[0], np.int8),
    }
    return [helper.make_node("DequantizeLinear", [*numbers], [name], axis=0)], numbers


def answer_of(nodes: list[Any], x: Any, width: int, weights: dict[str, Any]) -> Any:
    """What ONNX's own reference implementation answers, in (len(x), width, ...)."""
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "y")
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "right", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    [answer] = ReferenceEvaluator(model).run(None, {"x": x})
    assert answer.shape[:2] == (len(x), width)
    return answer


@pytest.mark.parametrize(("keep", "is_wrong"), [(0, True), (1, False)])
def test_the_largest_of_each_row_before_an_int8_layer(keep: int, is_wrong: bool) -> None:
    """Wrong if the maximum drops its dimension; right if a Reshape drops it."""
    axes = {"axes": np.array([1]), "shape": np.array([-1, 32])}
    round_x, scale = rounded("bytes", "flat", 0.016)
    weight, values = kernel("weight", 10, 32)
    nodes = [
        helper.make_node("ReduceMax", ["x", "axes"], ["largest"], keepdims=keep),
        helper.make_node(
            "Reshape" if keep else "Identity", ["largest", "shape"][: 1 + keep], ["flat"]
        ),
        *round_x,
        *weight,
        helper.make_node("Gemm", ["bytes", "weight"], ["y"], transB=1),
    ]
    x, numbers = abs(drawn(2, 64, 32)), {**axes, **scale, **values}
    error = error_of(nodes, {"x": x}, answer_of(nodes, x, 10, numbers), **numbers)
    assert error > 0.01 if is_wrong else error < 1e-5


@pytest.mark.parametrize("is_wrong", [True, False])
def test_numbers_of_the_images_beside_int8_layers(is_wrong: bool) -> None:
    """A Range over the batch anywhere in the graph; its numbers need not reach a layer."""
    first, first_scale = rounded("first", "x", 0.033)
    second, second_scale = rounded("second", "relu", 0.011)
    (weight, values), (last, more) = kernel("weight", 16, 3, 3, 3), kernel("last", 8, 16, 1, 1)
    numbers = {
        **{"from": np.array(0), "one": np.array(1), "axes": np.array([1, 2, 3])},
        **{"bias": drawn(16), **first_scale, **second_scale, **values, **more},
    }
    nodes = [
        *(*first, *weight, *last),
        helper.make_node("Conv", ["first", "weight", "bias"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        *second,
        helper.make_node("Conv", ["second", "last"], ["scores"]),
        helper.make_node("Shape", ["x"], ["sizes"], start=0, end=1),
        helper.make_node("Squeeze", ["sizes"], ["batch"]),
        helper.make_node("Range", ["from", "batch", "one"], ["numbers"]),
        helper.make_node("Cast", ["numbers"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["floats", "axes"], ["places"]),
        helper.make_node("Add", ["scores", "places"], ["y"]),
    ]
    if not is_wrong:
        nodes = [*nodes[:-6], helper.make_node("Identity", ["scores"], ["y"])]
    x = drawn(2, 3, 16, 16)
    error = error_of(nodes, {"x": x}, answer_of(nodes, x, 8, numbers), any_batch=True, **numbers)
    assert error > 0.1 if is_wrong else error < 1e-5
