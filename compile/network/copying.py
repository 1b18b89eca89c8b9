"""Copy a module that someone else wrote, whatever it holds, without what is wrapped around it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from compile.errors import BadArtifact, first_line, one_line
from compile.graphs.names import own_path


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
    _check_layers(module)
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
    return own.cpu().requires_grad_(False)


def _unwrapped(module: nn.Module) -> nn.Module:
    while type(module).__name__ in _WRAPPERS:
        inner: nn.Module = getattr(module, _WRAPPERS[type(module).__name__])
        module = inner
    return module


def _check_layers(module: nn.Module) -> None:
    """Refuse what torch cannot copy or export, with what to do."""
    for name, layer in module.named_modules():
        where = layer_text(name, layer)
        if isinstance(layer, torch.jit.ScriptModule):
            raise BadArtifact(
                f"{where} is a TorchScript module; give the nn.Module that it was made from"
            )
        if type(layer).__module__.startswith("torch.ao.nn."):
            raise BadArtifact(
                f"{where} is quantised already; give the module in float32, and --precision int8"
            )
        if "FullySharded" in type(layer).__name__:
            raise BadArtifact(
                f"{where} holds a part of its weights only; load its full state dict into the "
                "module that it wraps, and give that one"
            )
        for tensor in (*layer._parameters.values(), *layer._buffers.values()):
            if is_lazy(tensor):
                raise BadArtifact(
                    f"{where} has no weights yet; call the module once, on an image, before it is "
                    "compiled"
                )
            if tensor is not None and tensor.is_meta:
                raise BadArtifact(
                    f"{where} has its weights on the meta device, which keeps no numbers; load "
                    "them first (to_empty, then load_state_dict)"
                )


def in_type(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """`module` itself with its floats in `dtype`. nn.Module.to would make real numbers of complex
    ones as well, and drop their imaginary parts.
    """
    return module._apply(  # type: ignore[no-untyped-call]
        lambda each: each.to(dtype) if each.is_floating_point() else each
    )


def layer_text(name: str, layer: nn.Module) -> str:
    """How messages name a layer; `name` is empty for the module itself."""
    name = own_path(name)
    return f"layer '{name}' ({type(layer).__name__})" if name else "the module"


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
        where = layer_text(name, layer)
        faults = [key for key, value in vars(layer).items() if not _can_copy(value)]
        return f"attribute '{faults[0]}' of {where}" if faults else where
    return "the module"


def _can_copy(value: Any) -> bool:
    try:
        _copied(value)
    except Exception:
        return False
    return True
