"""NVIDIA's own builder on the graphs of the tests. TensorRT for RTX needs no GPU to build."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from compile.backends import qdq, tensorrt_builder, tensorrt_layers
from compile.backends.onnx import export
from compile.backends.tensorrt_builder import Engine, compiled, logger
from compile.errors import CheckFailed
from compile.network.pixels import FromBytes, Normalisation
from compile.precision import precision as find_precision
from compile.spec import CompileSpec
from tests.support.quantized import SHAPE
from tests.test_tensorrt_plan import module_for

trt = pytest.importorskip(
    "tensorrt_rtx", reason="no builder of TensorRT: pip install tensorrt-rtx-cu13==1.7.1.116"
)
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8", "fp8")
GREY = Normalisation(mean=(0.5,) * SHAPE[0], std=(0.25,) * SHAPE[0])


def spec_of(precision: str, input_type: str = "float32") -> CompileSpec:
    return CompileSpec(shape=SHAPE, batch=(1, 8), precision=precision, input_type=input_type)


@cache
def graph_of(precision: str, input_type: str = "float32") -> Any:
    """The graph as `tensorrt-plan` gives it to the builder; the exporter is slow, so kept."""
    module = module_for(precision)
    if input_type == "uint8":
        module = FromBytes(module, GREY)
    graph = export(module.eval(), spec_of(precision, input_type))
    return qdq.to_fp8(graph) if precision == "fp8" else graph


def build(
    graph: Any, spec: CompileSpec, target: str = "SM89", timings: Path | None = None
) -> Engine:
    """The engine for GPUs of one compute capability."""

    def adjust(config: Any) -> None:
        config.num_compute_capabilities = 1
        assert config.set_compute_capability(getattr(trt.ComputeCapability, target), 0)

    model = graph.SerializeToString()
    return compiled(trt, logger(trt), model, spec, timings=timings, adjust=adjust)


@pytest.mark.parametrize("input_type", ["float32", "uint8"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_is_built_and_read_back(precision: str, input_type: str) -> None:
    """Types are read from the layers; TF32 from the builder alone, as no layer shows it."""
    graph = graph_of(precision, input_type)
    engine = build(graph, spec_of(precision, input_type))
    assert len(engine.plan) > 1000 and engine.tf32 is find_precision(precision).tf32
    assert any(layer.multiplies for layer in engine.layers)
    held = qdq.precision_of(graph)
    tensorrt_layers.check(engine.layers, held, qdq.count_others(graph, held))
    for other in tensorrt_layers._TYPES.keys() - {held}:
        with pytest.raises(CheckFailed, match=f"the graph is {other}, TensorRT's engine mult"):
            tensorrt_layers.check(engine.layers, other, spared=0)


def test_a_convolution_that_lost_its_eight_bits_is_found() -> None:
    graph = graph_of("int8")
    changed = type(graph)()
    changed.CopyFrom(graph)
    inner = qdq.Graph(changed)
    _, body = (node for node in changed.graph.node if node.op_type == "Conv")
    qdq._release(inner, body)
    inner.clean()
    engine = build(changed, spec_of("int8"))
    assert qdq.count_others(graph, "int8") == 0
    with pytest.raises(CheckFailed, match=f"multiplies fp32 in 1 of 3 layers.*{body.name}"):
        tensorrt_layers.check(engine.layers, "int8", spared=0)
    tensorrt_layers.check(engine.layers, "int8", qdq.count_others(changed, "int8"))


@pytest.mark.filterwarnings("ignore:.*[Tt]iming cache")
def test_the_reason_is_the_build_s_own(tmp_path: Path) -> None:
    """The library logs an error about timings that it cannot read, and goes on without them."""
    torn = tmp_path / "timing.bin"
    torn.write_bytes(b"torn " * 40)
    with pytest.raises(CheckFailed, match="built no engine") as error:
        build(graph_of("fp32"), spec_of("fp32"), target="SM75", timings=torn)
    assert "cudaError" not in str(error.value) and "\n" not in str(error.value)


def test_a_graph_that_it_cannot_read_is_one_line() -> None:
    class TurnsBytes(FromBytes):
        def normalised(self, x: torch.Tensor) -> torch.Tensor:
            return x.permute(0, 3, 1, 2).float() * self.scale + self.shift

    spec = spec_of("fp32", "uint8")
    graph = export(TurnsBytes(module_for("fp32"), GREY).eval(), spec)
    with pytest.raises(CheckFailed, match=r"\(Transpose\) of the ONNX graph.* UInt8") as error:
        build(graph, spec)
    assert "\n" not in str(error.value)


def test_no_name_that_is_used_is_deprecated_or_lacking() -> None:
    """A build without timings warns of nothing; the suite takes warnings for errors."""
    assert build(graph_of("fp16"), spec_of("fp16")).plan
    assert tensorrt_builder.logger(trt).reason() == "it does not say why"
