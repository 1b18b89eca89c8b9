"""Modules that compute in other number types inside: they are compiled as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compile.api import compile_module
from compile.errors import CheckFailed
from compile.network.given import ready_to_call
from compile.network.network import Network
from compile.precision import check_held, of_constants
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.support.functions import SHAPE, Net

Tensor = torch.Tensor

HALF = torch.bfloat16


def mixing() -> nn.Module:
    return nn.Conv2d(16, 16, 3, padding=1)


def autocast(net: Any, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=HALF):
        return net.mix(x).float()


def in_its_type(net: Any, x: Tensor) -> Tensor:
    return net.mix(x.to(net.mix.weight.dtype)).to(x.dtype)


def weight_cast(net: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, net.mix.weight.to(x.dtype), net.mix.bias.to(x.dtype), padding=1)


class AllHalf(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(HALF)).float()


def all_half() -> nn.Module:
    return AllHalf(lambda net, x: x).to(HALF)


KINDS: dict[str, tuple[Any, set[str]]] = {
    "autocast": (lambda: Net(autocast, mix=mixing()), {"bfloat16"}),
    "bfloat16": (lambda: Net(in_its_type, mix=mixing().to(HALF)), {"bfloat16"}),
    "float64": (lambda: Net(in_its_type, mix=mixing().double()), {"float64"}),
    "weights kept in float16": (lambda: Net(weight_cast, mix=mixing().half()), {"float16"}),
    "all in bfloat16": (all_half, {"bfloat16"}),
    "plain": (lambda: Net(lambda net, x: x), set()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_that_runs_as_given_is_built_at_fp32(kind: str, tmp_path: Path) -> None:
    make, inner = KINDS[kind]
    net = make().eval()
    assert ready_to_call(net, SHAPE) is net
    assert Network(net, SHAPE).inner_types == inner
    assert compile_module(net, CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path).built


@pytest.mark.parametrize("kind", ["bfloat16", "weights kept in float16"])
def test_what_can_be_cast_is_built_at_another_precision(kind: str, tmp_path: Path) -> None:
    spec = CompileSpec(shape=SHAPE, precision="bf16")
    assert compile_module(KINDS[kind][0](), spec, backend="torchscript", root=tmp_path).built


def test_what_cannot_be_cast_is_told_what_to_write(tmp_path: Path) -> None:
    spec = CompileSpec(shape=SHAPE, precision="bf16")
    with pytest.raises(CheckFailed, match=r"in bf16: .* take the type from the input \(x\.to\(y"):
        compile_module(KINDS["autocast"][0](), spec, backend="torchscript", root=tmp_path)


@pytest.mark.parametrize("kind", ["bfloat16", "float64"])
def test_what_onnx_cannot_run_names_the_layer(kind: str, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"at conv2d_1 of layer 'mix': .* in float32, or comp"):
        compile_module(KINDS[kind][0](), CompileSpec(shape=SHAPE), backend="onnx", root=tmp_path)


def test_openvino_runs_float64(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    spec = CompileSpec(shape=SHAPE)
    assert compile_module(KINDS["float64"][0](), spec, backend="openvino", root=tmp_path).built


def test_the_oracle_lifts_what_is_inside_exactly() -> None:
    net = Net(in_its_type, mix=mixing().to(HALF)).eval()
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    oracle = PreparedModel(net, SHAPE).network.oracle(x)
    with torch.no_grad():
        assert torch.allclose(net.double()(x), oracle, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [HALF, torch.float16, torch.float64])
def test_weights_that_fit_no_image_are_cast(dtype: torch.dtype) -> None:
    """A checkpoint in half precision, say."""
    net = Net(lambda net, x: x).to(dtype)
    assert {each.dtype for each in ready_to_call(net, SHAPE).parameters()} == {torch.float32}


def test_a_file_may_hold_the_types_of_its_network_alone() -> None:
    weights = [torch.ones(4, 4, 3, 3), torch.ones(4, 4, 3, 3, dtype=HALF)]
    held = of_constants(weights)
    check_held(held, "fp32", lambda: {"bfloat16"})
    check_held("bf16", "fp32", lambda: {"bfloat16"})
    for found, own in ((held, set()), (held, {"float64"}), ("bf16", set()), ("fp16", {"bfloat16"})):
        with pytest.raises(CheckFailed, match="asked for fp32, the file holds"):
            check_held(found, "fp32", lambda own=own: own)  # type: ignore[misc]
