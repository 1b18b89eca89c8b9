"""What a module remembers: its weights, its buffers, and what lies in plain attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from compile.network.flat import unwrapped

State = Mapping[str, Any]
"""`weight 'NAME'`, `buffer 'NAME'` or `attribute 'NAME'` -> a copy of its value."""

_OWN = frozenset(vars(nn.Module())) | {"training"}
"""What PyTorch itself keeps in a module."""

_LARGEST = 100
"""Entries of a list or a dictionary that are looked at."""

_DEEPEST = 50
"""How deeply such lists may lie in each other."""


def state_of(module: nn.Module) -> State:
    """Copy the weights, buffers, and plain tensors, numbers and lists of all layers."""
    state: dict[str, Any] = {}
    for path, layer in unwrapped(module).named_modules():
        prefix = f"{path}." if path else ""
        for kind, tensors in (("weight", layer._parameters), ("buffer", layer._buffers)):
            for name, value in tensors.items():
                state[f"{kind} '{prefix}{name}'"] = _copied(value)
        for name, value in vars(layer).items():
            if name not in _OWN:
                state[f"attribute '{prefix}{name}'"] = _copied(value)
    return state


def changed(before: State, after: State) -> list[str]:
    """Names of what differs between two states of a module, in the order of its layers."""
    return [name for name in {**before, **after} if not _same(before.get(name), after.get(name))]


def _copied(value: Any, inside: frozenset[int] = frozenset()) -> Any:
    """A copy of a tensor, a number, a string or what holds them; None for anything else.

    `inside` are the lists and dictionaries that hold the value: one may hold itself.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, bool | int | float | complex | str):
        return value
    if id(value) in inside or len(inside) > _DEEPEST:
        return None
    inside |= {id(value)}
    if isinstance(value, Mapping):
        return [(str(key), _copied(value[key], inside)) for key in list(value)[:_LARGEST]]
    if isinstance(value, list | tuple):
        return [len(value), *(_copied(each, inside) for each in value[-_LARGEST:])]
    return None


def _same(one: Any, other: Any) -> bool:
    """Whether two copies are equal; a NaN equals itself."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return False
        return torch.equal(one, other) or bool(
            ((one == other) | (one != one) & (other != other)).all()
        )
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.tobytes() == other.tobytes()
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is not type(other):
        return False
    return bool(one == other or one != one)
