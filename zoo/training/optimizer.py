"""How weights move at one step: the optimiser, and the learning rate over the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.training.recipe import Recipe


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser. With `decay_all` everything decays, else matrices and kernels alone
    (arXiv:1812.01187).
    """
    decayed = [p for p in network.parameters() if p.ndim > 1 or recipe.decay_all]
    others = [p for p in network.parameters() if not (p.ndim > 1 or recipe.decay_all)]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": recipe.weight_decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    if recipe.optimizer == "lamb":
        return Lamb(groups, lr=recipe.lr)
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov and recipe.momentum > 0,
        fused=True,
    )


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """Learning rate of step `step` of `total`.

    A warm-up comes first. Then the rate falls along a cosine to 0, or to a tenth at each milestone.
    """
    warmup = recipe.warmup * total
    if step + 1 <= warmup:
        return recipe.lr * (recipe.warmup_hold or (step + 1) / warmup)
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** sum(step >= share * total for share in recipe.milestones)
    progress = (step + 1 - warmup) / (total + 1 - warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))


class Lamb(torch.optim.Optimizer):
    """LAMB (arXiv:1904.00962): Adam's step, rescaled layer by layer to the size of the weights.

    The whole gradient is clipped to norm 1 first: the published large-batch results rely on it.
    A group that does not decay is not rescaled: norms and biases take Adam's step.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient. `closure` is not used."""
        weights = [p for group in self.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[weight], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(weight)
            state["square"] = torch.zeros_like(weight)
        state["step"] += 1
        count = int(state["step"])
        state["mean"].lerp_(weight.grad, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
        root = (state["square"] / (1 - beta2**count)).sqrt_().add_(group["eps"])
        update = (state["mean"] / (1 - beta1**count)).div_(root)
        if group["weight_decay"]:
            update.add_(weight, alpha=group["weight_decay"])
            size, change = weight.norm(), update.norm()
            trust = torch.where((size > 0) & (change > 0), size / change, 1.0)
            update.mul_(trust)
        weight.add_(update, alpha=-group["lr"])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers of each weight, by name: `0.momentum_buffer`."""
    return {
        f"{index}.{name}": value
        for index, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser back what `optimizer_tensors` returned, for the same network."""
    weights = [w for group in optimizer.param_groups for w in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        like = weights[int(index)]
        # In the layout of its weight, as the optimiser made it: a fused step relies on it.
        same = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        moments.setdefault(int(index), {})[key] = same
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
