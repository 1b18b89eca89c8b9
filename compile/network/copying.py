"""Copy a module that someone else wrote, whatever it holds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from compile.errors import BadArtifact, first_line


class _Detaching(TorchFunctionMode):
    """While it is on, a deep copy detaches results of earlier computations, which torch refuses
    to copy. The old nn.utils.weight_norm keeps such a result as the layer's weight.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        if func is torch.Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def copied(module: nn.Module) -> nn.Module:
    """A deep copy of `module`, in the same mode.

    Raises BadArtifact that names the attribute and the layer which cannot be copied.
    """
    try:
        return _copied(module)
    except Exception as error:
        where = _culprit(module)
        raise BadArtifact(
            f"{where} cannot be copied: {first_line(error)}; keep it outside of the module, or "
            "give the class a __deepcopy__"
        ) from error


def _copied(value: Any) -> Any:
    with _Detaching():
        return copy.deepcopy(value)


def _culprit(module: nn.Module) -> str:
    """The innermost layer that cannot be copied, and its attribute that is at fault, in words."""
    for name, layer in reversed(list(module.named_modules())):
        if _can_copy(layer):
            continue
        where = f"layer '{name}' ({type(layer).__name__})" if name else "the module"
        faults = [key for key, value in vars(layer).items() if not _can_copy(value)]
        return f"attribute '{faults[0]}' of {where}" if faults else where
    return "the module"


def _can_copy(value: Any) -> bool:
    try:
        _copied(value)
    except Exception:
        return False
    return True
