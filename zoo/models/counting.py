"""The size of a network: its parameters, and its multiply-accumulates for one sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
SHAPELESS = (nn.BatchNorm2d, nn.GroupNorm, nn.ReLU, nn.Sigmoid)
"""Layers that count for nothing and give what they get, as far as shapes go."""


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters; running statistics are not among them."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def macs(model: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one sample (C, H, W).

    This is what papers call "FLOPs" and what torch's own counter counts as two operations each.
    Additions, norms and pooling are left out, as they are there. Nothing is multiplied: zeros of
    the right shapes flow through the network, wherever its weights are. A convolution that is not
    a module is not seen. A number of channels that the network does not take is a ValueError.
    """
    counts: list[int] = []
    stand_ins: dict[nn.Module, Callable[[Tensor], Tensor]] = {}
    for module in model.modules():
        if isinstance(module, CONVOLUTIONS):
            stand_ins[module] = partial(_convolve, module, counts)
        elif isinstance(module, nn.Linear):
            stand_ins[module] = partial(_multiply, module, counts)
        elif isinstance(module, SHAPELESS):
            stand_ins[module] = _same
    try:
        for module, stand_in in stand_ins.items():
            vars(module)["forward"] = stand_in
        with torch.no_grad():
            model(_zeros((1, *input_shape)))
    finally:
        for module in stand_ins:
            vars(module).pop("forward", None)
    return sum(counts)


def _zeros(shape: tuple[int, ...]) -> Tensor:
    """One zero that looks like a tensor of `shape`."""
    return torch.zeros(1, device="cpu").expand(shape)


def _same(x: Tensor) -> Tensor:
    return x


def _convolve(layer: nn.Conv1d | nn.Conv2d, counts: list[int], x: Tensor) -> Tensor:
    if x.shape[1] != layer.in_channels:
        raise ValueError(f"{x.shape[1]} channels come to a layer that takes {layer.in_channels}")
    assert not isinstance(layer.padding, str)
    sizes = zip(x.shape[2:], layer.padding, layer.kernel_size, layer.stride, strict=True)
    size = [(size + 2 * padding - kernel) // stride + 1 for size, padding, kernel, stride in sizes]
    out = _zeros((x.shape[0], layer.out_channels, *size))
    counts.append(out.numel() * layer.weight[0].numel())
    return out


def _multiply(layer: nn.Linear, counts: list[int], x: Tensor) -> Tensor:
    out = _zeros((*x.shape[:-1], layer.out_features))
    counts.append(out.numel() * layer.in_features)
    return out
