"""Stochastic depth (arXiv:1603.09382): in training, skip the branch of some residual units."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from zoo.errors import UsageError
from zoo.models.unit import ResidualUnit


def stochastic_depth(network: nn.Module, rate: float) -> list[RemovableHandle]:
    """Drop residual branches of `network`, in place. Returns the hooks that do it.

    The last unit's branch is dropped with probability `rate`. The probability grows linearly with
    depth, from 0 at the first unit. Each sample draws anew. A branch that stays is scaled up, so
    evaluation needs no change. A hook on the last norm of a branch drops it: no unit needs to
    know, and the state dict stays as it is. Raises UsageError for a network without shortcuts, or
    with branches that do not end in a norm.
    """
    if rate == 0:
        return []
    units = [unit for unit in network.modules() if isinstance(unit, ResidualUnit)]
    norms = [unit.last_norm for unit in units if unit.has_shortcut and unit.last_norm is not None]
    if not norms:
        raise UsageError(
            "this network has no residual branches that end in a norm, so none can be dropped; "
            "use --set drop_path=0"
        )
    rates = [rate * index / max(1, len(norms) - 1) for index in range(len(norms))]
    return [norm.register_forward_hook(_dropper(r)) for norm, r in zip(norms, rates, strict=True)]


def _dropper(rate: float) -> Callable[[nn.Module, object, Tensor], Tensor | None]:
    def drop(module: nn.Module, inputs: object, branch: Tensor) -> Tensor | None:
        if not module.training or rate == 0:
            return None
        kept = branch.new_empty((len(branch), 1, 1, 1)).bernoulli_(1 - rate)
        return branch * kept / (1 - rate)

    return drop
