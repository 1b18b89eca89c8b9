"""The constants gate: what a compiler may make of weights passes, and nothing else does."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from compile.api import compile_module
from compile.network.fold import export, fold_batch_norms
from compile.precision import precision
from compile.proof.constants import Compared, compare
from compile.proof.forms import weights_read
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.networks import NETWORKS
from tests.support.faults import Tampered, attempt, rounded
from tests.support.folding import Activated
from tests.support.networks import SHAPE
from tests.support.weights import (
    Affine,
    Auxiliary,
    Beside,
    Excited,
    LayerScale,
    LowRank,
    MadeInForward,
    Net,
    Positions,
    Qkv,
    Standardised,
    Times,
    in_groups,
    replaced,
    seeded,
)

X = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
Values = Sequence[torch.Tensor]


def compared(net: nn.Module, constants: Values, name: str = "fp32") -> Compared:
    """What the gate says of a file that holds these constants and the head."""
    dtype = getattr(torch, precision(name).dtype)
    head = [net.get_parameter("head.weight"), net.get_parameter("head.bias")]
    values = [each.detach().to(dtype) for each in (*constants, *head)]
    return compare(weights_read(export(net, X), dtype), name, values)


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
    "stale": (Net, lambda net: [-net.conv.weight.exp(), net.conv.bias], "conv.weight"),
    "behind a ReLU": (lambda: Net(nn.Sequential(nn.ReLU(), Affine())), _ten_bits, "conv.weight"),
    "behind a pool": (
        lambda: Net(nn.Sequential(nn.MaxPool2d(2), Affine())),
        _ten_bits,
        "conv.weight",
    ),
    "a norm that was folded and stays": (
        lambda: Net(Activated(12)),
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
    net: Any = fold_batch_norms(seeded(make), X)
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


@pytest.mark.parametrize("kind", [Positions, MadeInForward])
@torch.no_grad()
def test_a_layer_that_sees_no_image_need_not_be_there(kind: type[nn.Module]) -> None:
    """A compiler may write what it gives instead: a position embedding."""
    net = seeded(lambda: Net(kind()))
    table = net.after.table
    answer = net.after.project(table if isinstance(table, torch.Tensor) else table())
    result = compared(net, (*parts(net.conv), answer))
    assert result.gate["passed"] and "the same for every image" in result.skipped[0]["reason"]


@torch.no_grad()
def test_a_weight_that_was_computed_in_the_precision() -> None:
    """bf16 gives zeros where weights are close to their mean, and float64 does not."""
    net = seeded(replaced(lambda: Standardised(2, 12, 3)))
    net.conv.weight.mul_(0.02).add_(1)
    low = copy.deepcopy(net).bfloat16().conv.standard()
    assert int((low == 0).sum()) > int((net.double().conv.standard() == 0).sum())
    result = compared(net.float(), (low, net.conv.bias), "bf16")
    assert result.gate["passed"] and not result.skipped


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


def test_a_layer_behind_a_dropout_that_is_off_may_be_computed_by_the_compiler(
    tmp_path: Path,
) -> None:
    row = NETWORKS["places_through_dropout"]
    spec = CompileSpec(shape=row.shape)
    made = compile_module(row.build(), spec, backend="torchscript", root=tmp_path)
    assert "not decided" in made.manifest["parity"]["skipped_gates"][0]["reason"]
