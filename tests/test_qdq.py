"""Quantised ONNX graphs: symmetry, FP8 against torch's own, and the precision read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from compile.backends import qdq
from compile.errors import CheckFailed
from compile.network.prepare import cast
from tests.support.quantized import QuantizedLayer, QuantizedNet, graph_of, samples


@pytest.fixture(scope="module")
def int8() -> Any:
    return graph_of(QuantizedNet())


@pytest.fixture(scope="module")
def fp8(int8: Any) -> Any:
    return qdq.to_fp8(int8)


def run(model: Any, x: torch.Tensor) -> torch.Tensor:
    (out,) = ReferenceEvaluator(model).run(None, {"input": x.numpy()})
    return torch.from_numpy(numpy.asarray(out))


def constants(model: Any) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def producer(model: Any, name: str) -> Any:
    return next((node for node in model.graph.node if name in node.output), None)


def convolutions(model: Any) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


# INT8


def test_the_exporter_writes_pairs_that_compute_what_torch_does(int8: Any) -> None:
    onnx.checker.check_model(int8, full_check=True)
    qdq.check_symmetric(int8)
    net = QuantizedNet().eval()
    with torch.no_grad():
        torch.testing.assert_close(run(int8, samples()), net(samples()), rtol=1e-4, atol=1e-4)
    assert qdq.precision_of(int8) == "int8"


def change_zero(model: Any, kind: int, value: int) -> None:
    """Give the first pair another zero point."""
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    tensor = constants(model)[node.input[2]]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    tensor.CopyFrom(numpy_helper.from_array(numpy.array(value, dtype), tensor.name))


def forget_zero(model: Any) -> None:
    node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    del node.input[2:]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda model: change_zero(model, TensorProto.INT8, 3), "zero point beside 0"),
        (lambda model: change_zero(model, TensorProto.UINT8, 0), "quantises to UINT8"),
        (forget_zero, "zero point is not a constant"),
    ],
)
def test_what_tensorrt_does_not_take_is_named(
    int8: Any, spoil: Callable[[Any], None], reason: str
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(int8)
    spoil(model)
    with pytest.raises(CheckFailed, match=f"^node_quantize_per_tensor.*{reason}") as error:
        qdq.check_symmetric(model)
    assert "\n" not in str(error.value)
    with pytest.raises(CheckFailed):
        qdq.to_fp8(model)


# FP8


def test_fp8_leaves_the_int8_graph_alone(int8: Any, fp8: Any) -> None:
    assert qdq.precision_of(int8) == "int8" and qdq.precision_of(fp8) == "fp8"
    kinds = {tensor.data_type for tensor in fp8.graph.initializer}
    assert TensorProto.FLOAT8E4M3FN in kinds and TensorProto.INT8 not in kinds


def test_fp8_covers_the_same_range(int8: Any, fp8: Any) -> None:
    """The largest number of each type times its scale is the same value."""
    for node in fp8.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            old = next(n for n in int8.graph.node if n.name == node.name)
            small = numpy_helper.to_array(constants(fp8)[node.input[1]])
            large = numpy_helper.to_array(constants(int8)[old.input[1]])
            numpy.testing.assert_allclose(448 * small, 127 * large, rtol=1e-6)
            assert not any(constants(fp8)[node.input[2]].raw_data)


def test_fp8_weights_are_those_of_torch(fp8: Any) -> None:
    node = producer(fp8, convolutions(fp8)[1].input[1])
    stored = constants(fp8)[node.input[0]]
    given = QuantizedNet().body.weight.float() * (448 / 127)
    expected = given.clamp(-448, 448).to(torch.float8_e4m3fn)
    assert stored.data_type == TensorProto.FLOAT8E4M3FN
    assert stored.raw_data == expected.view(torch.uint8).numpy().tobytes()
    assert float(expected.float().abs().max()) == 448


def emulated(scale: float, x: torch.Tensor) -> torch.Tensor:
    """Through FP8 and back, by torch."""
    step = scale * 127 / 448
    return (x / step).clamp(-448, 448).to(torch.float8_e4m3fn).float() * step


def test_fp8_computes_what_torch_does_with_float8(fp8: Any) -> None:
    """The stem has three channels and stays float; body and head go through FP8."""
    net, x = QuantizedNet().eval(), samples()

    def weight(layer: QuantizedLayer, through_fp8: bool) -> torch.Tensor:
        step = layer.step.view(-1, *[1] * (layer.weight.ndim - 1))
        eighth = (layer.weight.float() * 448 / 127).to(torch.float8_e4m3fn).float() * 127 / 448
        return (eighth if through_fp8 else layer.weight.float()) * step

    with torch.no_grad():
        y = nn.functional.conv2d(x, weight(net.stem, False), net.stem.bias).relu() / 5
        y = emulated(net.body.scale, y)
        y = nn.functional.conv2d(y, weight(net.body, True), net.body.bias).relu() / 20
        y = emulated(net.head.scale, y.mean((2, 3)))
        expected = nn.functional.linear(y, weight(net.head, True), net.head.bias)
    torch.testing.assert_close(run(fp8, x), expected, rtol=1e-4, atol=1e-4)


def test_a_stem_has_no_fp8_kernel(fp8: Any) -> None:
    stem, body = convolutions(fp8)
    assert stem.input[0] == "input" and stem.input[1] in constants(fp8)
    for position in (0, 1):
        assert producer(fp8, body.input[position]).op_type == "DequantizeLinear"


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ((16, 16, 3, 3), True),
        ((64, 32, 5, 5), True),
        ((64, 3, 7, 7), False),
        ((64, 16, 7, 7), False),
        ((128, 4, 3, 3), False),
        ((24, 16, 1, 1), False),
    ],
)
def test_which_convolutions_have_an_fp8_kernel(shape: tuple[int, ...], fits: bool) -> None:
    weight = numpy_helper.from_array(numpy.zeros(shape, "int8"), "w")
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [], [], [weight])
    assert qdq._has_fp8_kernel(qdq.Graph(onnx.helper.make_model(graph)), node) is fits


def test_an_old_opset_is_refused(int8: Any) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(int8)
    model.opset_import[0].version = 18
    with pytest.raises(CheckFailed, match="has opset 18; FP8 needs 19"):
        qdq.to_fp8(model)


def test_a_constant_that_others_read_keeps_its_value(int8: Any) -> None:
    """The exporter shares constants: a scale may be a plain factor elsewhere."""
    model = onnx.ModelProto()
    model.CopyFrom(int8)
    body = producer(model, convolutions(model)[1].input[0])
    model.graph.node.append(onnx.helper.make_node("Mul", ["logits", body.input[1]], ["scaled"]))
    model.graph.output[0].name = "scaled"
    before = run(qdq.to_fp8(int8), samples())
    torch.testing.assert_close(run(qdq.to_fp8(model), samples()), before * 0.05)


# The precision read back


class Plain(nn.Module):
    """(N, 3, 8, 8) -> (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 5, 3), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize(("precision", "opset"), [("fp32", None), ("fp16", None), ("bf16", 22)])
def test_a_graph_of_floats(precision: str, opset: int | None) -> None:
    model = graph_of(cast(Plain().eval(), precision), opset=opset)
    onnx.checker.check_model(model, full_check=True)
    assert qdq.precision_of(model) == precision


class WeightsAlone(QuantizedLayer):
    """8-bit weights and a float input: TensorRT would compute in float."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = self.step.view(-1, 1, 1, 1)
        weight = torch.ops.quantized_decomposed.dequantize_per_channel(
            self.weight, self.step, self.zero, 0, -127, 127, torch.int8
        )
        return nn.functional.conv2d(x, weight, self.bias).mean((2, 3)) * step.mean()


def test_quantised_weights_alone_are_not_int8() -> None:
    with pytest.raises(CheckFailed, match="int8 weights alone"):
        qdq.precision_of(graph_of(WeightsAlone(torch.randn(4, 3, 3, 3), 0.1)))


class Mixed(nn.Module):
    """A quantised layer between convolutions of another precision."""

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.kind = dtype
        self.first = nn.Conv2d(3, width, 3, padding=1).to(dtype)
        self.rest = nn.Conv2d(width, 16, 1)
        self.body = QuantizedLayer(torch.randn(4, 16, 3, 3), 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self.rest(self.first(x.to(self.kind)).float())).mean((2, 3))


def test_most_weights_must_be_quantised() -> None:
    assert qdq.precision_of(graph_of(Mixed(4, torch.float32))) == "int8"
    with pytest.raises(CheckFailed, match="in fp32, 576 in int8; one precision must prevail"):
        qdq.precision_of(graph_of(Mixed(64, torch.float32)))


def test_floats_are_not_mixed() -> None:
    with pytest.raises(CheckFailed, match="fp16"):
        qdq.precision_of(graph_of(Mixed(64, torch.float16)))
    with pytest.raises(CheckFailed, match="multiplies by no weights"):
        qdq.precision_of(graph_of(nn.Flatten()))
