"""A module must be a function of one image, in every batch and in every type."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from compile.backends import backend
from compile.errors import CheckFailed
from compile.proof.mates import mixing
from compile.spec import CompileSpec
from tests.support.functions import SHAPE, Middle, Net, Tokens, ready, through

Tensor = torch.Tensor


def only_among_calm_mates(net: Any, x: Tensor) -> Tensor:
    calm = (x.abs().amax() < 20).to(x.dtype)
    return x + 0.5 * calm * (x.mean(0, keepdim=True) - x)


def pairs(net: Any, x: Tensor) -> Tensor:
    if len(x) % 2:
        return x
    return x.reshape(-1, 2, *x.shape[1:]).flip(1).reshape(x.shape)


MIXING: dict[str, tuple[Middle, str]] = {
    "range of the batch": (lambda net, x: (x - x.min()) / (x.max() - x.min()), "forward of Net"),
    "softmax over images": (lambda net, x: x.softmax(0), "forward of Net"),
    "size of the batch": (lambda net, x: x / x.norm(), "forward of Net"),
    "mean image": (lambda net, x: x - x.mean(0, keepdim=True), "forward of Net"),
    "hardly": (lambda net, x: x + 1e-6 * x.mean(), "forward of Net"),
    "sorted": (lambda net, x: x.sort(0).values, "forward of Net"),
    "the first image": (lambda net, x: x + x[:1], "forward of Net"),
    "rolled": (lambda net, x: x.roll(1, 0), "forward of Net"),
    "summed": (lambda net, x: x.cumsum(0), "forward of Net"),
    "a wrong view": (lambda net, x: x.reshape(16, -1).t().reshape(x.shape), "forward of Net"),
    "without hostile mates": (only_among_calm_mates, "in a batch of 8"),
    "in pairs": (pairs, "in a batch of 8"),
}

LAYERS: dict[str, tuple[nn.Module, str]] = {
    "attention": (Tokens(nn.MultiheadAttention(16, 4)), r"layer 'layer.layer' \(Multihead"),
    "LSTM": (Tokens(nn.LSTM(16, 16)), r"layer 'layer.layer' \(LSTM\)"),
}


def nets() -> dict[str, tuple[Net, str]]:
    """All networks that mix the images of a batch, and the words that say where."""
    made = {case: (Net(middle), words) for case, (middle, words) in MIXING.items()}
    return made | {case: (through(layer), words) for case, (layer, words) in LAYERS.items()}


@pytest.mark.parametrize("case", nets())
def test_a_batch_is_refused_where_its_images_mix(case: str) -> None:
    net, words = nets()[case]
    prepared = ready(net)
    prepared.function.check()
    for batch in ((1, 8), (4, 4)):
        match = f"depends on the other images of its batch.*{words}.*--batch 1"
        with pytest.raises(CheckFailed, match=match):
            prepared.function.check_batch(CompileSpec(shape=SHAPE, batch=batch))
    prepared.function.check_batch(CompileSpec(shape=SHAPE))


SOME_SIZES: dict[str, tuple[Middle, int]] = {
    "five alone": (lambda net, x: x - x.mean(0, keepdim=True) if len(x) == 5 else x, 5),
    "three to seven": (lambda net, x: x.roll(1, 0) if 2 < len(x) < 8 else x, 3),
    "another factor": (lambda net, x: x * 1.5 if len(x) == 7 else x, 7),
}


@pytest.mark.parametrize("case", SOME_SIZES)
def test_each_batch_of_a_small_range_is_tried(case: str) -> None:
    middle, first = SOME_SIZES[case]
    prepared = ready(Net(middle))
    with pytest.raises(CheckFailed, match=f"in a batch of {first}"):
        prepared.function.check_batch(CompileSpec(shape=SHAPE, batch=(1, 8)))
    prepared.function.check_batch(CompileSpec(shape=SHAPE, batch=(1, 2)))


def test_mixing_does_not_widen_the_bound() -> None:
    spec = CompileSpec(shape=SHAPE)
    bounds = []
    for middle in (lambda net, x: x - 0.5 * x.mean(0, keepdim=True), lambda net, x: 0.5 * x):
        task = ready(Net(middle)).task(spec, backend("torchscript"))
        bounds.append(task.bounds.bound)  # alone, both compute the same
    torch.testing.assert_close(*bounds, rtol=1.0, atol=0.0)


def test_a_batch_norm_without_statistics_is_named_as_one() -> None:
    prepared = ready(through(nn.BatchNorm2d(16, track_running_stats=False)))
    with pytest.raises(CheckFailed, match="layer 'layer' is a batch norm in training mode"):
        prepared.task(CompileSpec(shape=SHAPE, batch=(1, 8)), backend("torchscript"))


def test_a_module_that_takes_one_image_is_built_for_one() -> None:
    prepared = ready(Net(lambda net, x: x.reshape(1, 16, 4, 4)))
    prepared.task(CompileSpec(shape=SHAPE), backend("torchscript"))
    assert not prepared.function.mixes("float32")


def in_float32(net: Any, x: Tensor) -> Tensor:
    return x + torch.linspace(0, 1, x.shape[-1], dtype=torch.float32).sin().float()


def half_mixed(net: Any, x: Tensor) -> Tensor:
    return (x.float() - 0.1 * x.float().mean(0, keepdim=True)).float()


@pytest.mark.parametrize(("middle", "mixes"), [(in_float32, False), (half_mixed, True)])
def test_a_network_that_does_not_run_in_float64(middle: Middle, mixes: bool) -> None:
    """Its exported graph does."""
    prepared = ready(Net(middle))
    prepared.function.check()
    assert prepared.network.oracle.kind == "float64-graph"
    assert prepared.function.mixes("float32") is mixes


def spread(depth: int) -> nn.Sequential:
    """Layers that divide by the spread of a channel, which is next to nothing in a flat image."""
    layers = [(nn.Conv2d(16, 16, 1), nn.InstanceNorm2d(16), nn.ReLU()) for _ in range(depth)]
    return nn.Sequential(*(each for group in layers for each in group))


def test_rounding_that_grows_is_not_mixing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is computed with other roundings; flat channels make them large."""
    prepared = ready(through(spread(6)))
    oracle = prepared.network.oracle
    exact = oracle.together
    monkeypatch.setattr(oracle, "together", lambda x: exact(x * (1 + 2**-50)))
    assert mixing(oracle, prepared.golden("float32")) is None


def not_in_its_graph(net: Any, x: Tensor) -> Tensor:
    """What the exported graph does not show, and float64 cannot run: it is in no oracle."""
    x = x.float()
    if torch.compiler.is_compiling():
        return x
    bright = x.mean((1, 2, 3), keepdim=True) > net.threshold
    return x * torch.where(bright, 1.08, 1.0)


@torch.no_grad()
def test_what_the_oracle_does_not_compute_is_refused() -> None:
    """Else the difference would count as PyTorch's own error, and the bound would hide it."""
    net = Net(not_in_its_graph, threshold=1e9)
    prepared = ready(net)
    prepared.function.check()
    images = prepared.samples.of_type("float32").ordinary.pixels.float()
    example = CompileSpec(shape=SHAPE).example()  # by which the oracle is chosen
    means = [float(net.conv(image).relu().mean()) for image in (*images.split(1), example)]
    net.threshold = sorted(means)[-2]
    assert means[-1] <= net.threshold
    with pytest.raises(CheckFailed, match=r"in float32 the answer to row \d+ .* away from"):
        ready(net).function.check()
