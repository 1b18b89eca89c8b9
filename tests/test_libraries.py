"""Every network: gradients, lifelike logits, and torchvision's and timm's own numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn

from tests.support.slices import first_of_kind
from zoo.models import build, info, names
from zoo.models.calibration import calibrate_batch_norms, synthetic_images
from zoo.models.counting import parameters

Libraries = dict[str, Callable[[], nn.Module]]

POOL = 0.05 * torch.randn(20_000_000, generator=torch.Generator().manual_seed(5))
"""Weights are views of it, each from another place: five billion take long to draw or to copy."""


def lifelike(name: str) -> nn.Module:
    """The network with random weights and calibrated batch norms, in evaluation mode."""
    with torch.device("meta"):
        network = build(name).eval()
    state = {}
    for index, (key, value) in enumerate(network.state_dict().items()):
        start = 9973 * index % 1_000_000
        state[key] = POOL[start : start + value.numel()].view(value.shape)
    network.load_state_dict(state, assign=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            module.to_empty(device="cpu").reset_parameters()
    calibrate_batch_norms(network, small_shape(name), seed=1, batch=4)
    return network


def small_shape(name: str) -> tuple[int, int, int]:
    """The smallest images that leave every stage something to see."""
    side = 32 if info(name).num_classes == 1000 else 8
    return (3, side, side)


class Named(NamedTuple):
    """A network, and its logits of two images."""

    name: str
    network: nn.Module
    images: torch.Tensor
    logits: torch.Tensor


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[None]:
    """Weights that are replaced at once need not be drawn: on the meta device even that is slow."""
    with pytest.MonkeyPatch.context() as patch:
        for drawing in ("kaiming_normal_", "kaiming_uniform_", "uniform_"):
            patch.setattr(nn.init, drawing, lambda tensor, *_, **__: tensor)
        yield


def design(name: str) -> tuple[str, bool]:
    """What networks have in common that differ in depth alone: the rest of the name, the block."""
    return re.sub(r"\d{2,}", "", name, count=1), info(name).depth >= 50


@pytest.fixture(scope="module", params=first_of_kind(names(), design))
def named(request: pytest.FixtureRequest) -> Named:
    """Each network in turn: all tests of one run before the next is built."""
    name = request.param
    network = lifelike(name)
    images = synthetic_images(2, small_shape(name), torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return Named(name, network, images, network(images))


@pytest.fixture(scope="module")
def builders(libraries: SimpleNamespace) -> dict[str, Libraries]:
    """Name -> what builds it, for torchvision and timm."""
    resnet, timm = libraries.torchvision, libraries.timm
    return {
        "torchvision": {name: getattr(resnet, name) for name in resnet.__all__ if name[0] in "rw"},
        "timm": {name: partial(timm.create_model, name) for name in names() if timm.is_model(name)},
    }


def test_logits_are_finite_and_depend_on_the_image(named: Named) -> None:
    assert named.logits.shape == (2, info(named.name).num_classes)
    assert torch.isfinite(named.logits).all()
    spread = named.logits.std(0).mean() / named.logits.std()
    assert spread > 0.05, "the same logits whatever the image"


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_same_names_and_logits(named: Named, library: str, builders: dict[str, Libraries]) -> None:
    """From one state dict, strictly; what differs is the order of a few roundings."""
    if named.name not in builders[library]:
        return
    with torch.device("meta"):
        theirs = builders[library][named.name]().eval()
    for module in theirs.modules():
        if hasattr(module, "filt"):  # the weights of timm's blur are in no state dict
            module.to_empty(device="cpu").reset_parameters()
    theirs.load_state_dict(named.network.state_dict(), strict=True, assign=True)
    assert list(theirs.state_dict()) == list(named.network.state_dict())
    assert parameters(theirs) == info(named.name).parameters
    with torch.inference_mode():
        logits = theirs(named.images)
    largest = (named.logits - logits).abs().max() / logits.std()
    assert largest < 1e-4, "BlurPool rounds otherwise (1.3e-5); all else gives the same bits"


def test_gradients_reach_every_parameter(named: Named) -> None:
    """With the calibrated statistics: those of so few pixels would blow the gradient up."""
    reached: set[int] = set()

    def arrived(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
        reached.add(id(parameter))
        parameter.grad = None  # half a gigabyte of weights need not have gradients all at once

    weights = list(named.network.parameters())
    handles = [value.register_post_accumulate_grad_hook(arrived) for value in weights]
    step = 1 if info(named.name).family == "antialiased" else 2  # a blur needs two pixels
    named.network(named.images[:1, :, ::step, ::step]).square().sum().backward()
    for handle in handles:
        handle.remove()
    assert {id(value) for value in weights} == reached
