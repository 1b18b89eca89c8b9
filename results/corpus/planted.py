"""Faults planted in any network: what a compiler, an exporter or a file gets wrong in practice.

Each fault changes a copy of the network, and PyTorch runs that copy as a faultless compiler would.
So its error is that of the fault and of PyTorch's own rounding. A fault that a network does not
have a place for is left out.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator

import torch
from torch import nn

WEIGHTS = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
OTHERS: dict[type[nn.Module], Callable[[], nn.Module]] = {
    nn.GELU: lambda: nn.GELU(approximate="tanh"),
    nn.SiLU: nn.Hardswish,
    nn.Hardswish: nn.SiLU,
    nn.ReLU: nn.ReLU6,
    nn.ReLU6: nn.ReLU,
}
"""What is taken for what: they agree on many inputs."""

Plant = Callable[[nn.Module, random.Random], str]
"""Changes the network and says where; raises NoPlace."""


class NoPlace(Exception):
    """The network has no layer that this fault could be in."""


def planted(network: nn.Module, seed: int) -> Iterator[tuple[str, str, nn.Module]]:
    """The name of each fault, where it is, and a network that has it."""
    for name, plant in PLANTS.items():
        wrong = copy.deepcopy(network)
        try:
            with torch.no_grad():
                where = plant(wrong, random.Random(f"{name} {seed}"))
        except NoPlace:
            continue
        yield name, where, wrong


def layers(
    network: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...]
) -> list[tuple[str, nn.Module]]:
    """The layers of these very kinds: a subclass may compute something else."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    return [
        (name, each)
        for name, each in network.named_modules()
        if name and type(each) in kinds and _plain(each)
    ]


def _plain(layer: nn.Module) -> bool:
    """Whether the layer's weight is a parameter of its own, not computed from others."""
    return "weight" in layer._parameters or not hasattr(layer, "weight")


def one_of(draw: random.Random, found: list[tuple[str, nn.Module]]) -> tuple[str, nn.Module]:
    """One of the layers, or NoPlace."""
    if not found:
        raise NoPlace
    return draw.choice(found)


def scaled(size: float) -> Plant:
    """Each output channel of a layer times 1 + `size` * normal noise."""

    def plant(network: nn.Module, draw: random.Random) -> str:
        where, layer = one_of(draw, layers(network, WEIGHTS))
        weight = layer.get_parameter("weight")
        generator = torch.Generator().manual_seed(draw.randrange(2**31))
        noise = torch.randn(len(weight), *[1] * (weight.ndim - 1), generator=generator)
        weight.mul_(1 + size * noise)
        return where

    return plant


def rounded(dtype: torch.dtype) -> Plant:
    """The weights of a layer, rounded to a smaller type."""

    def plant(network: nn.Module, draw: random.Random) -> str:
        where, layer = one_of(draw, layers(network, WEIGHTS))
        weight = layer.get_parameter("weight")
        weight.copy_(weight.to(dtype))
        return where

    return plant


def epsilon(network: nn.Module, draw: random.Random) -> str:
    """Another epsilon in a norm."""
    where, layer = one_of(draw, layers(network, NORMS))
    assert isinstance(layer.eps, float)
    layer.eps = 1e-3 if layer.eps < 1e-3 else 1e-5
    return where


def no_bias(network: nn.Module, draw: random.Random) -> str:
    """A bias left out."""
    biased = [
        (name, each)
        for name, each in layers(network, (*WEIGHTS, *NORMS))
        if isinstance(each.bias, torch.Tensor) and bool(each.bias.any())
    ]
    where, layer = one_of(draw, biased)
    layer.get_parameter("bias").zero_()
    return where


def padding(network: nn.Module, draw: random.Random) -> str:
    """The border repeated where zeros belong."""
    padded = [
        (name, each)
        for name, each in layers(network, nn.Conv2d)
        if isinstance(each, nn.Conv2d) and any(map(bool, each._reversed_padding_repeated_twice))
    ]
    where, layer = one_of(draw, padded)
    layer.__dict__["padding_mode"] = "replicate"
    return where


def exchanged(network: nn.Module, draw: random.Random) -> str:
    """Two output channels of a layer, exchanged."""
    wide = [
        (name, each)
        for name, each in layers(network, WEIGHTS)
        if len(each.get_parameter("weight")) > 1
    ]
    where, layer = one_of(draw, wide)
    weight = layer.get_parameter("weight")
    one, other = draw.sample(range(len(weight)), 2)
    weight[[one, other]] = weight[[other, one]]
    return where


def activation(network: nn.Module, draw: random.Random) -> str:
    """One activation taken for another that looks like it."""
    where, layer = one_of(draw, layers(network, tuple(OTHERS)))
    network.set_submodule(where, OTHERS[type(layer)]())
    return where


def shifted(network: nn.Module, draw: random.Random) -> str:
    """The image, shifted by a pixel."""
    del draw
    network.register_forward_pre_hook(lambda _, given: (torch.roll(given[0], 1, -1),))
    return "the input"


def by_256(network: nn.Module, draw: random.Random) -> str:
    """Pixels divided by 256 instead of 255."""
    del draw
    network.register_forward_pre_hook(lambda _, given: (given[0] * (255 / 256),))
    return "the input"


PLANTS: dict[str, Plant] = {
    "a layer off by 1e-2": scaled(1e-2),
    "a layer off by 1e-3": scaled(1e-3),
    "a layer off by 1e-4": scaled(1e-4),
    "weights in float16": rounded(torch.float16),
    "weights in bfloat16": rounded(torch.bfloat16),
    "epsilon": epsilon,
    "bias dropped": no_bias,
    "padding mode": padding,
    "channels exchanged": exchanged,
    "activation": activation,
    "input shifted": shifted,
    "pixels by 256": by_256,
}
