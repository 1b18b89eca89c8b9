"""How weights move during training: the recipe, its optimiser, its schedule, its average."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum on a one-cycle schedule."""

    epochs: int = 36
    """Passes over the training half."""
    batch: int = 64
    """Images in one step, at least; an epoch is cut into equal steps."""
    lr: float = 0.1
    """Learning rate at its peak, after the warm-up; it ends at 0 along a cosine."""
    warmup: float = 0.2
    """Share of all steps over which the learning rate climbs from 0."""
    momentum: float = 0.9
    """Nesterov momentum."""
    weight_decay: float = 5e-3
    """Of convolution and linear weights; not of batch norms and biases."""
    label_smoothing: float = 0.1
    """Share of the target that is spread evenly over all classes."""
    shift: int = 1
    """Largest random shift in pixels, in each direction; the border is background."""
    flip: bool = False
    """Mirror half of the images; wrong for digits, right for most photographs."""
    average: float = 0.97
    """Decay per step of an exponential average of the weights; 0 keeps the last weights."""
    zero_init_residual: bool = True
    """Start every residual unit as its shortcut alone."""

    def __post_init__(self) -> None:
        limits = (
            ("epochs", 1, 10_000),
            ("batch", 2, 65_536),
            ("lr", 0.0, 100.0),
            ("warmup", 0.0, 0.9),
            ("momentum", 0.0, 0.999),
            ("weight_decay", 0.0, 1.0),
            ("label_smoothing", 0.0, 0.9),
            ("shift", 0, 64),
            ("average", 0.0, 0.99999),
        )
        for name, low, high in limits:
            value = getattr(self, name)
            if isinstance(low, int) and not isinstance(value, int):
                raise UsageError(f"{name} {value} is not a whole number; use {low} to {high}")
            if not low <= value <= high:
                raise UsageError(f"{name} {value} is out of range; use {low} to {high}")


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD that decays matrices and kernels but no batch norm and no bias (arXiv:1812.01187)."""
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return torch.optim.SGD(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,
    )


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """Linear from 0 to the peak over the warm-up, then along a cosine to 0 at step `total`."""
    warmup = recipe.warmup * total
    if step + 1 <= warmup:
        return recipe.lr * (step + 1) / warmup
    progress = (step + 1 - warmup) / (total + 1 - warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))


class WeightAverage:
    """An exponential average of a network's weights over the steps; a decay of 0 does nothing.

    The weights of the last steps scatter around a better point than any of them. Batch norms
    measure what the network's own weights produce, so their statistics cannot be averaged with
    them: `adopt` measures them anew.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network = network
        self._decay = decay
        self._weights: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self) -> None:
        """Count the weights of one more step in."""
        if not self._decay:
            return
        for name, parameter in self._network.named_parameters():
            if name in self._weights:
                self._weights[name].lerp_(parameter, 1 - self._decay)
            else:
                self._weights[name] = parameter.detach().clone()

    @torch.no_grad()
    def adopt(self, images: Tensor) -> None:
        """Give the network the average, and the statistics of `images` (N, C, H, W) under it."""
        if not self._weights:
            return
        for name, parameter in self._network.named_parameters():
            parameter.copy_(self._weights[name])
        norms = [m for m in self._network.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
        self._network.train()
        for chunk in images.tensor_split(max(1, len(images) // 256)):
            self._network(chunk)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
