"""Copy a module that someone else wrote, whatever it holds, without what is wrapped around it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from compile.errors import BadArtifact, first_line, one_line
from compile.network.layers import check_layers, layer_text


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


_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module"}
_WRAPPERS |= {"DistributedDataParallel": "module"}
"""Classes that call another module and compute nothing themselves, and their name for it."""


def own_copy(module: nn.Module) -> nn.Module:
    """A copy of `module` to compile: on the CPU, in evaluation mode, without gradients.

    What torch.compile and DataParallel wrap around the module, and torch.compile around its layers,
    is taken off.

    Raises BadArtifact for what cannot be compiled, naming the layer: a ScriptModule, a layer
    without weights, an attribute that cannot be copied, or an eval() that breaks.
    """
    check_layers(module)
    own = copied(_unwrapped(module))
    for layer in list(own.modules()):
        for name, inner in layer._modules.items():
            if inner is not None and type(inner).__name__ == "OptimizedModule":
                layer._modules[name] = _unwrapped(inner)
    with one_line("the module cannot be put into evaluation mode"):
        mode = own.eval()
    if mode is not own:
        raise BadArtifact(
            f"the module's eval() returns a {type(mode).__name__}; it must return the module itself"
        )
    with one_line("the module cannot be brought to the CPU"):
        return own.cpu().requires_grad_(False)


def _unwrapped(module: nn.Module) -> nn.Module:
    while type(module).__name__ in _WRAPPERS:
        inner: nn.Module = getattr(module, _WRAPPERS[type(module).__name__])
        module = inner
    return module


def in_type(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """`module` itself with its float32 numbers in `dtype`.

    What it holds in another type stays, because its forward casts to that; in float64 nothing
    else remains. nn.Module.to would make real numbers of complex ones as well, and drop their
    imaginary parts.
    """

    def cast(tensor: torch.Tensor) -> torch.Tensor:
        lifts = dtype == torch.float64 and tensor.is_floating_point()
        return tensor.to(dtype) if lifts or tensor.dtype == torch.float32 else tensor

    return module._apply(cast)  # type: ignore[no-untyped-call]


def copied(module: nn.Module) -> nn.Module:
    """A deep copy of `module`, in the same mode.

    Raises BadArtifact that names the attribute and the layer which cannot be copied, or which
    gives itself for a copy.
    """
    try:
        copy_ = _copied(module)
    except Exception as error:
        where = _culprit(module)
        raise BadArtifact(
            f"{where} cannot be copied: {first_line(error)}; keep it outside of the module, or "
            "give the class a __deepcopy__"
        ) from error
    fault = _not_copied(module, copy_)
    if fault is not None:
        raise BadArtifact(f"the __deepcopy__ of {fault}; it must return a copy with all its layers")
    _copy_slots(module, copy_)
    return copy_


def _copied(value: Any) -> Any:
    with _Detaching():
        return copy.deepcopy(value)


def _not_copied(module: nn.Module, copy_: Any) -> str | None:
    """What is wrong with a copy, in words, after the name of the layer; None for a real copy."""
    if type(copy_) is not type(module):
        return f"the module returns a {type(copy_).__name__}"
    ours = dict(module.named_modules())
    theirs = dict(copy_.named_modules())
    same = {id(each) for each in ours.values()}
    for name, layer in theirs.items():
        if id(layer) in same:
            return f"{layer_text(name, layer)} returns the layer itself"
    if ours.keys() != theirs.keys():
        return "the module leaves layers out"
    return None


def _copy_slots(module: nn.Module, copy_: nn.Module) -> None:
    """Copy what lies in __slots__, too, which torch's modules leave out of their state."""
    for layer, other in zip(module.modules(), copy_.modules(), strict=True):
        for kind in type(layer).__mro__:
            slots = vars(kind).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(layer, name):
                    object.__setattr__(other, name, _copied(getattr(layer, name)))


def _culprit(module: nn.Module) -> str:
    """The innermost layer that cannot be copied, and its part that is at fault, in words."""
    for path, layer in reversed(list(module.named_modules())):
        if _can_copy(layer):
            continue
        where = layer_text(path, layer)
        parts = {"weight": layer._parameters, "buffer": layer._buffers, "attribute": vars(layer)}
        for kind, held in parts.items():
            for name, value in held.items():
                if not _can_copy(value):
                    return f"{kind} '{name}' of {where}"
        return where
    return "the module"


def _can_copy(value: Any) -> bool:
    try:
        _copied(value)
    except Exception:
        return False
    return True
