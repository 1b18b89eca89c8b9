"""The oracle: networks that do not run in float64 as they stand, and those that round inside."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compile.artifact.schema import manifest_schema
from compile.bisect.reference import float_reference
from compile.errors import CheckFailed
from compile.network.network import Network
from compile.network.oracle import GRAPH, MODULE, oracle
from tests.support.networks import SHAPE, SmallNet


class _Net(nn.Module):
    """A convolution and a head; what stands between them is each test's own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix, self.head = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.between(self.conv(x)).mean((2, 3)))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x)


class _PlaceMadeInForward(_Net):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x * torch.linspace(0, 1, x.shape[-1]))


class _PlaceOfAType(_Net):
    """sin of float32 numbers: in float64 they would be others."""

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x * torch.arange(x.shape[-1], dtype=torch.float32).sin().to(x.dtype))


class _SingleInside(_Net):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x.float())


class _RoundsSilently(_Net):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(torch.softmax(x.float(), dim=1).to(x.dtype))


class _Asserts(_Net):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dtype == torch.float32, "images must be float32"
        return self.mix(x)


class _Autocast(_Net):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            x = self.mix(x.float())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.mix(x).float()


class _ChoosesByType(_Net):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x) if x.dtype == torch.float32 else x


class _ConstantOfAType(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.rand(4, 1, 1)

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x * self.scale[:4])


KINDS: dict[type[_Net], str] = {
    _Net: MODULE,
    _PlaceMadeInForward: MODULE,
    _PlaceOfAType: GRAPH,
    _SingleInside: GRAPH,
    _RoundsSilently: GRAPH,
    _Asserts: GRAPH,
    _Autocast: GRAPH,
    _ChoosesByType: GRAPH,
    _ConstantOfAType: GRAPH,
}


def _pixels() -> torch.Tensor:
    return torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))


def _exact(net: _Net, x: torch.Tensor) -> torch.Tensor:
    """What the network means, written out in float64 for each of the classes above."""
    double = Network(net, SHAPE).given.double()
    x = double.conv(x.double())
    steps = torch.arange(x.shape[-1], dtype=torch.float64)
    if isinstance(net, _PlaceMadeInForward):
        x = x * steps / (len(steps) - 1)
    elif isinstance(net, _PlaceOfAType):
        x = x * steps.sin()
    elif isinstance(net, _RoundsSilently):
        x = torch.softmax(x, dim=1)
    elif isinstance(net, _ConstantOfAType):
        x = x * net.scale.double()
    x = double.mix(double.mix(x) if isinstance(net, _Autocast) else x)
    return double.head(x.mean((2, 3)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@torch.no_grad()
def test_the_oracle_is_float64_all_the_way(kind: type[_Net]) -> None:
    net = kind().eval()
    computed = Network(net, SHAPE).oracle
    answers = computed(_pixels().double())
    assert computed.kind == KINDS[kind]
    assert answers.dtype == torch.float64
    assert float((answers - _exact(net, _pixels())).abs().max()) < 1e-13
    assert torch.get_default_dtype() == torch.float32


def test_every_kind_may_stand_in_a_manifest() -> None:
    allowed = manifest_schema()["properties"]["parity"]["properties"]["oracle"]["enum"]
    assert allowed == [MODULE, GRAPH]


class _Bits(_Net):
    """It reads the bits of float32 numbers, which mean nothing in float64."""

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix((x.float().view(torch.int32) & -4096).view(torch.float32))


class _BreaksOnlyThere(_Net):
    """Its graph, lifted, gives another answer: it asks for float32's largest number."""

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(torch.where(torch.isinf(x.float() * 1e38 * 1e3), -x, x).float())


@pytest.mark.parametrize("kind", [_Bits, _BreaksOnlyThere], ids=lambda kind: kind.__name__)
def test_a_module_without_an_oracle_is_refused_in_one_line(kind: type[_Net]) -> None:
    with pytest.raises(CheckFailed, match=r"float64.*layer 'mix' \(Conv2d\).*graph") as caught:
        oracle(kind().eval(), _pixels())
    assert len(str(caught.value).splitlines()) == 1


def test_the_plain_way_is_the_module_in_float64(net: SmallNet) -> None:
    double = Network(net, SHAPE).module.double()
    with torch.no_grad():
        expected = torch.cat([double(row) for row in _pixels().double().split(1)])
    assert torch.equal(oracle(net, _pixels()), expected)


@pytest.mark.parametrize("kind", [_PlaceMadeInForward, _RoundsSilently, _Asserts, _Autocast])
def test_bisect_holds_inner_values_to_the_same_oracle(kind: type[_Net]) -> None:
    network = Network(kind(), SHAPE)
    exact = float_reference(network, "fp32", rows=2).exact
    x = _pixels()[:1].double()
    (output,) = exact.tap(exact.outputs)(x)
    assert float((output - network.oracle(x)).abs().max()) < 1e-13
