"""What the ONNX exporter got wrong elsewhere: here it is refused, or cannot happen.

Each test says which report it stands for. Where upstream has mended it since, what was reported is
made anew by hand.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from compile.api import compile_module
from compile.errors import CheckFailed
from compile.spec import CompileSpec
from tests.support.faults import nothing_in
from tests.support.networks import SHAPE, small_net

FP32 = CompileSpec(shape=SHAPE)
RANGE = CompileSpec(shape=SHAPE, batch=(1, 8))

Edit = Callable[[Any], None]


class Stage(nn.Module):
    """The start of a ResNet's stage: a convolution and a shortcut that read the same tensor."""

    def __init__(self, shortcut: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.shortcut = nn.Conv2d(2, shortcut, 1, bias=False)
        self.shortcut_bn = nn.BatchNorm2d(shortcut)
        self.head = nn.Linear(16 + shortcut, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = (self.bn(self.conv(x)), self.shortcut_bn(self.shortcut(x)))
        return self.head(torch.cat(both, dim=1).relu().mean((2, 3)))


def stage(shortcut: int) -> Stage:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Stage(shortcut)
        for norm in (net.bn, net.shortcut_bn):
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.3, 2.0)
    return net.eval()


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Callable[[Edit], list[nn.Module]]:
    """Let the ONNX exporter return a graph as `edit` leaves it, and keep what it was given."""
    real, given = torch.onnx.export, []

    def use(edit: Edit) -> list[nn.Module]:
        def export(module: nn.Module, *arguments: Any, **named: Any) -> Any:
            given.append(module)
            model = copy.deepcopy(real(module, *arguments, **named).model_proto)
            edit(model)
            return SimpleNamespace(model_proto=model)

        monkeypatch.setattr(torch.onnx, "export", export)
        return given

    return use


def share_biases(model: Any) -> None:
    """Name a folded bias after the tensor that its convolution reads: the last one wins."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    last = {node.input[0]: node.input[2] for node in convolutions}
    for node in convolutions:
        node.input[2] = last[node.input[0]]
    del model.graph.value_info[:]


def test_a_resnet18_with_zero_accuracy(
    exporter: Callable[[Edit], list[nn.Module]], tmp_path: Path
) -> None:
    """pytorch 169178: a ResNet-18 exported with dynamo=True was right in 0 % of ImageNet.

    The exporter's optimiser folded batch norms and named each new bias after its convolution's
    input (pytorch 174042 shows the collision). A stage's first convolution and its shortcut read
    the same tensor and have the same width: one lost its bias without a word.
    """
    exporter(share_biases)
    with pytest.raises(CheckFailed, match=r"parity failed: .*beyond their bound.*'constants' at"):
        compile_module(stage(16), FP32, backend="onnx", root=tmp_path)
    assert nothing_in(tmp_path)


def test_a_bias_of_the_wrong_shape(
    exporter: Callable[[Edit], list[nn.Module]], tmp_path: Path
) -> None:
    """pytorch 166797: a ResNet-50 exported with dynamo=True had a bias of the wrong shape.

    The same collision where shortcut and convolution differ in width, as in bottlenecks.
    """
    exporter(share_biases)
    with pytest.raises(CheckFailed):
        compile_module(stage(32), FP32, backend="onnx", root=tmp_path)
    assert nothing_in(tmp_path)


@pytest.mark.parametrize("shortcut", [16, 32])
def test_the_exporter_finds_no_batch_norm_to_fold(
    shortcut: int, exporter: Callable[[Edit], list[nn.Module]], tmp_path: Path
) -> None:
    """pytorch 169178 and 166797 again: here batch norms are folded before anything is exported."""
    given = exporter(lambda model: None)
    assert compile_module(stage(shortcut), FP32, backend="onnx", root=tmp_path).built
    (module,) = given
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())


def fix_batch(model: Any) -> None:
    """Write the example's batch where the range should stand."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2


def reshape_to_batch(model: Any) -> None:
    """Keep the example's batch as a constant inside the graph, which still claims a range."""
    from onnx import helper, numpy_helper

    shape = numpy_helper.from_array(torch.tensor([2, 32]).numpy(), "two")
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    reshape = helper.make_node("Reshape", [gemm.input[0], "two"], ["flat"])
    gemm.input[0] = "flat"
    model.graph.initializer.append(shape)
    model.graph.node.insert(len(model.graph.node) - 1, reshape)
    del model.graph.value_info[:]


def test_a_range_of_batches_that_became_a_constant(
    exporter: Callable[[Edit], list[nn.Module]], tmp_path: Path
) -> None:
    """pytorch 157621: a ResNet-50 asked for batches 1 to 10 answered the example's alone."""
    exporter(fix_batch)
    with pytest.raises(CheckFailed):
        compile_module(small_net(), RANGE, backend="onnx", root=tmp_path)
    assert nothing_in(tmp_path)


def test_a_constant_batch_inside_a_graph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pytorch 157621 again, where only a reshape in the middle has become constant: the file takes
    its range and breaks."""
    import onnxsim

    real = onnxsim.simplify

    def simplify(model: Any, **named: Any) -> tuple[Any, bool]:
        simplified, fine = real(model, **named)
        reshape_to_batch(simplified)
        return simplified, fine

    monkeypatch.setattr(onnxsim, "simplify", simplify)
    with pytest.raises(CheckFailed, match=r"parity failed: .* broke"):
        compile_module(small_net(), RANGE, backend="onnx", root=tmp_path)
    assert nothing_in(tmp_path)
