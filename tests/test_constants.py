"""The constants gate: what a compiler may make of weights passes, and nothing else does.

Each network maps (N, 2, 8, 8) to (N, 6); its layer has twelve or more values, since a file need not
hold shorter vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from compile.api import compile_module
from compile.network.fold import export
from compile.precision import precision
from compile.proof.constants import Compared, compare
from compile.proof.forms import weights_read
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.support.faults import Tampered, attempt, rounded
from tests.support.networks import SHAPE

X = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
Values = Sequence[torch.Tensor]


class Net(nn.Module):
    """A convolution of twelve channels and whatever `after` does, then the head."""

    def __init__(self, after: nn.Module | None = None, before: nn.Module | None = None) -> None:
        super().__init__()
        self.conv: Any = nn.Conv2d(SHAPE[0], 12, 3)
        self.after: Any = after or nn.ReLU()
        self.before: Any = before or nn.Identity()
        self.head: Any = nn.Linear(12, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.after(self.conv(self.before(x))).mean((2, 3)))


def seeded(make: Callable[[], nn.Module]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return make().eval()


def compared(net: nn.Module, constants: Values, name: str = "fp32") -> Compared:
    """What the gate says of a file that holds these constants and the head."""
    dtype = getattr(torch, precision(name).dtype)
    head = [net.get_parameter("head.weight"), net.get_parameter("head.bias")]
    values = [each.detach().to(dtype) for each in (*constants, *head)]
    return compare(weights_read(export(net, X), dtype), name, values)


class Affine(nn.Module):
    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5)
        self.register_buffer("shift", torch.randn(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift


class LayerScale(nn.Module):
    """With the channels last, as ConvNeXt has it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(12, 12)
        self.gamma = nn.Parameter(torch.rand(12) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + y * self.gamma.reshape(1, -1, 1, 1)


class Times(nn.Module):
    def __init__(self, factor: float, shift: float = 0.0) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.shift - x) / self.factor


class Standardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, self.standard(), self.bias)

    def standard(self) -> torch.Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        return (self.weight - mean) / self.weight.std((1, 2, 3), keepdim=True)


class LowRank(nn.Module):
    """W + A B, as fine-tuning leaves it."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(12, 12)
        self.left = nn.Parameter(torch.randn(12, 3))
        self.right = nn.Parameter(torch.randn(3, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.base.weight + self.left @ self.right
        return functional.linear(x.mean((2, 3)), weight, self.base.bias)[..., None, None]


class Qkv(nn.Module):
    """One weight in three parts."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(36, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (functional.linear(x.mean((2, 3)), part) for part in self.weight.chunk(3))
        return (q * k.sigmoid() + v)[..., None, None]


class Beside(nn.Module):
    """Two linear layers of one input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(12, 12), nn.Linear(12, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.mean((2, 3))
        return (self.a(x) * self.b(x).sigmoid())[..., None, None]


class Auxiliary(Net):
    """A head for training, which no step reads."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(12, 7, 1)


def replaced(layer: Callable[[], nn.Module]) -> Callable[[], Net]:
    """A network with another first layer."""

    def make() -> Net:
        net = Net()
        net.conv = layer()
        return net

    return make


def in_groups() -> Net:
    net = Net(Affine())
    net.conv = nn.ConvTranspose2d(2, 12, 3, groups=2)
    return net


def parts(layer: nn.Module) -> list[torch.Tensor]:
    return [layer.get_parameter("weight"), layer.get_parameter("bias")]


def scaled(net: Any) -> Values:
    scale, shift = net.after.scale.view(-1), net.after.shift.view(-1)
    return net.conv.weight * scale[:, None, None, None], net.conv.bias * scale + shift


def scaled_before(net: Any) -> Values:
    scale, shift = net.before.scale.view(-1), net.before.shift.view(-1)
    moved = (net.conv.weight * shift[:, None, None]).sum((1, 2, 3))
    return net.conv.weight * scale[:, None, None], net.conv.bias + moved


def by_norm(net: Any) -> Values:
    """A norm in front of an activation of its own, folded in float32 as compilers do."""
    fused = nn.utils.fuse_conv_bn_eval(net.conv, net.after[0])
    return fused.weight, fused.bias


def layer_scale(net: Any) -> Values:
    inner, gamma = net.after.inner, net.after.gamma
    return *parts(net.conv), inner.weight * gamma[:, None], inner.bias * gamma


def transposed_in_groups(net: Any) -> Values:
    scale, shift = net.after.scale.view(-1), net.after.shift.view(-1)
    first, second = net.conv.weight.chunk(2)
    weight = torch.cat([first * scale[:6, None, None], second * scale[6:, None, None]])
    return weight, net.conv.bias * scale + shift


LEGAL: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Values]]] = {
    "as they are": (Net, lambda net: parts(net.conv)),
    "without an unread head": (Auxiliary, lambda net: parts(net.conv)),
    "a scale and shift": (lambda: Net(Affine()), scaled),
    "a scale alone": (lambda: Net(Affine()), lambda net: (scaled(net)[0], net.conv.bias)),
    "a scale left where it is": (lambda: Net(Affine()), lambda net: parts(net.conv)),
    "two numbers": (
        lambda: Net(Times(0.3, 0.7)),
        lambda net: (-net.conv.weight / 0.3, (0.7 - net.conv.bias) / 0.3),
    ),
    "a scale before": (lambda: Net(before=Affine(2)), scaled_before),
    "a norm that is left": (lambda: Net(nn.Sequential(nn.BatchNorm2d(12), nn.ReLU())), by_norm),
    "channels last": (lambda: Net(LayerScale()), layer_scale),
    "transposed in groups": (in_groups, transposed_in_groups),
    "standardised": (
        replaced(lambda: Standardised(2, 12, 3)),
        lambda net: (net.conv.standard(), net.conv.bias),
    ),
    "standardised when it runs": (
        replaced(lambda: Standardised(2, 12, 3)),
        lambda net: parts(net.conv),
    ),
    "weight norm": (
        replaced(lambda: parametrizations.weight_norm(nn.Conv2d(2, 12, 3))),
        lambda net: (net.conv.weight, net.conv.bias),
    ),
    "spectral norm": (
        replaced(lambda: parametrizations.spectral_norm(nn.Conv2d(2, 12, 3))),
        lambda net: (net.conv.weight, net.conv.bias),
    ),
    "a sum": (
        lambda: Net(LowRank()),
        lambda net: (
            *parts(net.conv),
            net.after.base.weight + net.after.left @ net.after.right,
            net.after.base.bias,
        ),
    ),
    "the terms of a sum": (
        lambda: Net(LowRank()),
        lambda net: (*parts(net.conv), *net.after.parameters()),
    ),
    "three parts": (
        lambda: Net(Qkv()),
        lambda net: (*parts(net.conv), *net.after.weight.chunk(3)),
    ),
    "a whole of three parts": (
        lambda: Net(Qkv()),
        lambda net: (*parts(net.conv), net.after.weight),
    ),
    "joined": (
        lambda: Net(Beside()),
        lambda net: (
            *parts(net.conv),
            torch.cat([net.after.a.weight, net.after.b.weight]).t(),
            torch.cat([net.after.a.bias, net.after.b.bias]),
        ),
    ),
}
"""Network, and what a file of it may hold besides the head."""


@pytest.mark.parametrize("name", LEGAL)
@torch.no_grad()
def test_what_a_compiler_may_write(name: str) -> None:
    make, constants = LEGAL[name]
    net = seeded(make)
    for kind in ("fp32", "bf16"):
        result = compared(net, constants(net), kind)
        assert result.gate["passed"] and not result.skipped, (kind, result)


@torch.no_grad()
def _ten_bits(net: Any) -> Values:
    return rounded(net.conv.weight, bits=10), net.conv.bias


WRONG: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Values], str]] = {
    "ten bits": (Net, _ten_bits, "conv.weight"),
    "no bias": (Net, lambda net: parts(net.conv)[:1], "conv.bias"),
    "stale": (Net, lambda _: parts(Net().conv), "conv.weight"),
    "behind a ReLU": (lambda: Net(nn.Sequential(nn.ReLU(), Affine())), _ten_bits, "conv.weight"),
    "behind a pool": (
        lambda: Net(nn.Sequential(nn.MaxPool2d(2), Affine())),
        _ten_bits,
        "conv.weight",
    ),
    "two of three parts": (
        lambda: Net(Qkv()),
        lambda net: (*parts(net.conv), *net.after.weight.chunk(3)[:2]),
        "after.weight",
    ),
}
"""Network, what its file holds, and the weight that the gate names."""


@pytest.mark.parametrize("name", WRONG)
@torch.no_grad()
def test_a_plain_layer_is_decided(name: str) -> None:
    make, constants, culprit = WRONG[name]
    net = seeded(make)
    result = compared(net, constants(net))
    assert not result.gate["passed"] and result.gate["worst"].endswith(culprit.split(".")[-1])
    assert not result.skipped, result


UNDECIDED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a factor": (lambda: Net(Affine()), "a factor or shift stands beside it"),
    "computed": (replaced(lambda: Standardised(2, 12, 3)), "computed from other weights"),
}


@pytest.mark.parametrize("name", UNDECIDED)
@torch.no_grad()
def test_what_cannot_be_decided_is_named(name: str) -> None:
    """It fails nowhere: the outputs decide. The manifest says so."""
    make, reason = UNDECIDED[name]
    net = seeded(make)
    result = compared(net, (net.conv.weight * 1.5, net.conv.bias))
    assert result.gate["passed"]
    (entry,) = result.skipped
    assert entry["name"] == "constants" and reason in entry["reason"]
    assert entry["reason"].startswith("not decided at conv.weight: ")


@torch.no_grad()
def test_a_number_need_not_be_a_constant() -> None:
    net = seeded(Net)
    net.conv.bias.fill_(0.5)
    result = compared(net, (net.conv.weight,))
    assert result.gate["passed"] and "conv.bias" in result.skipped[0]["reason"]


class Excited(nn.Module):
    """Squeeze and excite, with a factor behind."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(12, 12, 1), nn.Conv2d(12, 12, 1, groups=12)
        self.scale = Affine()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.scale(x * weight)


BUILT: dict[str, Callable[[], nn.Module]] = {
    name: LEGAL[name][0]
    for name in (
        *("without an unread head", "a scale and shift", "two numbers", "a scale before"),
        *("channels last", "transposed in groups", "standardised", "weight norm"),
        *("spectral norm", "a sum", "three parts", "joined"),
    )
} | {"squeeze and excite": lambda: Net(Excited())}


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
@pytest.mark.parametrize("name", BUILT)
def test_the_file_of_a_right_network_passes(name: str, kind: str, tmp_path: Path) -> None:
    spec = CompileSpec(shape=SHAPE, precision=kind)
    net = seeded(BUILT[name])
    made = compile_module(net, spec, backend="torchscript", root=tmp_path)
    assert made.manifest["parity"]["skipped_gates"] == []


def test_stale_weights_beside_a_factor_fail_by_the_outputs(tmp_path: Path) -> None:
    net, other = seeded(lambda: Net(Affine())), Net(Affine()).eval()
    base = PreparedModel(net, SHAPE)
    outcome = attempt(Tampered(lambda *_: other, base), "torchscript", "fp32", tmp_path)
    assert "bound" in outcome.failed, outcome
    undecided = {each.name for each in base.weights("fp32") if each.undecided}
    assert undecided == {"conv.weight", "conv.bias"}
