"""Modules that torchao does not quantise as they stand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from compile.backends import backend, onnx
from compile.errors import CheckFailed
from compile.network.quantize import quantize
from compile.network.readable import readable
from compile.network.regions import without_regions
from compile.proof.constants import compare
from compile.proof.images import Calibration
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, SmallNet

IMAGES = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.filterwarnings("ignore:Using padding")
@pytest.mark.parametrize("kernel", [1, 3, (2, 2), (1, 4), (5, 3)])
@pytest.mark.parametrize(("padding", "dilation"), [("same", 1), ("same", 2), ("valid", 1)])
def test_a_padding_in_words_becomes_numbers(
    kernel: int | tuple[int, int], padding: str, dilation: int
) -> None:
    layer = nn.Conv2d(2, 3, kernel, padding=padding, dilation=dilation)
    x = torch.randn(2, 2, 9, 9)
    with torch.no_grad():
        graph = readable(torch.export.export(layer, (x,)).module())
        torch.testing.assert_close(graph(x), layer(x))
    targets = [str(node.target) for node in graph.graph.nodes]
    assert "aten.conv2d.default" in targets and "aten.conv2d.padding" not in targets


def test_a_module_that_makes_a_number_of_its_batch_is_quantised_for_one_image() -> None:
    class OneByOne(SmallNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([super(OneByOne, self).forward(image) for image in torch.split(x, 1)])

    torch.manual_seed(0)
    calibration = Calibration(images=IMAGES, source="synthetic")
    prepared = PreparedModel(OneByOne().eval(), SHAPE, calibration=calibration)
    graph = prepared.quantised_tasks.graph("x86")
    assert graph.single
    one_by_one = torch.cat([graph(image) for image in torch.split(IMAGES[:3], 1)])
    assert torch.equal(graph(IMAGES[:3]), one_by_one)
    one = CompileSpec(shape=SHAPE, precision="int8")
    assert prepared.task(one, backend("onnx")).module.single
    with pytest.raises(CheckFailed, match="makes a number of the batch"):
        prepared.quantised_tasks.make(replace(one, batch=(1, 4)), "x86")
    with pytest.raises(CheckFailed, match="in int8 its graph takes one image at a time"):
        prepared.quantised_tasks.make(replace(one, batch=(4, 4)), "x86")


class _Placed(SmallNet):
    """Adds a table of places, which a layer makes of numbers of its own, to its features."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 10))
        self.places = nn.Linear(10, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.places(self.table)


def test_weights_of_a_layer_that_sees_no_image_are_not_decided() -> None:
    """A compiler may write the layer's answer instead; the manifest says so."""
    torch.manual_seed(0)
    calibration = Calibration(images=IMAGES, source="synthetic")
    prepared = PreparedModel(_Placed().eval(), SHAPE, calibration=calibration)
    weights = prepared.quantised_tasks.weights("x86")
    held = [form.values for each in weights if each.undecided is None for form in each.forms()]
    compared = compare(weights, "int8", held)
    assert compared.gate["passed"]
    (entry,) = compared.skipped
    assert entry["reason"].startswith("not decided at places.weight, places.bias: ")
    assert "the same for every image" in entry["reason"]


class _LastChannels(SmallNet):
    """Its features have their channels last in memory, as those of a transformer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.conv1(x).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        return nn.functional.adaptive_avg_pool2d(features, 1).flatten(1)


def test_a_pool_over_the_image_is_a_mean_whatever_the_memory_format() -> None:
    """As a gather it would bring the graph a Range, beside which OpenVINO's int8 is wrong."""
    torch.manual_seed(0)
    calibration = Calibration(images=IMAGES, source="synthetic")
    prepared = PreparedModel(_LastChannels().eval(), SHAPE, calibration=calibration)
    spec = CompileSpec(shape=SHAPE, precision="int8", batch=(1, 4))
    graph = onnx.export(prepared.task(spec, backend("openvino")).module, spec).graph
    kinds = {node.op_type for node in graph.node}
    assert "ReduceMean" in kinds and not kinds & {"Gather", "Range"}


class _Regions(SmallNet):
    """Regions behind each other, and one inside another, whose graphs have the same name."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Conv2d(SHAPE[0], 10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            y = self.more(x.float()).relu().mean((2, 3))
            with torch.autocast("cpu", enabled=False):
                y = 2 * y
            z = super().forward(x)
        with torch.no_grad():
            return y + z


def test_layers_in_regions_are_quantised() -> None:
    torch.manual_seed(0)
    net = _Regions().eval()
    graph = without_regions(torch.export.export(net, (IMAGES[:2],)).module())
    assert not [node for node in graph.graph.nodes if "wrap_with" in str(node.target)]
    with torch.no_grad():
        assert torch.equal(graph(IMAGES[:2]), net(IMAGES[:2]))
    names = {name for name, value in quantize(net, IMAGES, "x86").weights() if value.ndim > 1}
    assert {"more.weight", "conv1.weight", "fc.weight"} <= names
