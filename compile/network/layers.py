"""Refuse layers that torch cannot copy or export, each in a line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from compile.errors import BadArtifact, one_line
from compile.graphs.names import own_path

_LONGEST_NAME = 60

_DEEPEST = 20
"""How deeply lists that lie in each other are looked at."""


def layer_text(name: str, layer: nn.Module) -> str:
    """How messages name a layer; `name` is empty for the module itself."""
    name = own_path(name)
    if len(name) > _LONGEST_NAME:
        half = _LONGEST_NAME // 2
        name = f"{name[:half]}...{name[-half:]}"
    return f"layer '{name}' ({type(layer).__name__})" if name else "the module"


def layer_at_fault(module: nn.Module, error: BaseException) -> str | None:
    """The innermost layer of `module` in whose call an exception was raised, in words.

    None if it was raised outside of all layers.
    """
    names = {id(layer): name for name, layer in module.named_modules()}
    found = None
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:
        causes.append(cause)
    for each in causes:
        step = each.__traceback__
        while step is not None:
            layer = step.tb_frame.f_locals.get("self")
            if isinstance(layer, nn.Module) and own_path(names.get(id(layer), "")):
                found = layer_text(names[id(layer)], layer)
            step = step.tb_next
    return found


def check_layers(module: nn.Module) -> None:
    """Raise BadArtifact, or CheckFailed if the module's own code breaks."""
    with one_line("the module's layers cannot be listed"):
        _check_nesting(module)
        for name, layer in module.named_modules():
            where = layer_text(name, layer)
            _check_kind(where, layer)
            for key, value in vars(layer).items():
                if _holds_itself(value):
                    raise BadArtifact(
                        f"attribute '{key}' of {where} holds itself, which torch.export follows "
                        "without end; keep it outside of the module"
                    )
            for kind, tensors in (("weight", layer._parameters), ("buffer", layer._buffers)):
                for key, tensor in tensors.items():
                    if tensor is not None:
                        _check_tensor(where, f"{kind} '{key}' of {where}", tensor)


def _check_nesting(module: nn.Module) -> None:
    """Refuse a layer that holds one of those that hold it: torch itself never comes to an end."""
    above: dict[int, str] = {}
    waiting: list[tuple[str, nn.Module] | int] = [("", module)]
    while waiting:
        each = waiting.pop()
        if isinstance(each, int):
            del above[each]
            continue
        name, layer = each
        if id(layer) in above:
            raise BadArtifact(
                f"layer '{name}' is {layer_text(above[id(layer)], layer)} again, which holds it; "
                "keep such a reference in a list, which is not a layer"
            )
        above[id(layer)] = name
        waiting += [id(layer), *_inner(name, layer)]


def _inner(name: str, layer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that a layer holds, and their names."""
    if "_modules" not in vars(layer):
        raise BadArtifact(
            f"{layer_text(name, layer)} was never set up: its __init__ must call super().__init__()"
        )
    for key, inner in layer._modules.items():
        if inner is not None:
            yield f"{name}.{key}" if name else key, inner


def _holds_itself(
    value: object, inside: tuple[int, ...] = (), seen: set[int] | None = None
) -> bool:
    """Whether a list or dictionary lies in itself, however deeply. `seen` have been looked at."""
    seen = set() if seen is None else seen
    if id(value) in inside:
        return True
    if not isinstance(value, dict | list | tuple) or id(value) in seen or len(inside) > _DEEPEST:
        return False
    seen.add(id(value))
    parts = value.values() if isinstance(value, dict) else value
    return any(_holds_itself(part, (*inside, id(value)), seen) for part in parts)


def _check_kind(where: str, layer: nn.Module) -> None:
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


def _check_tensor(where: str, which: str, tensor: torch.Tensor) -> None:
    if is_lazy(tensor):
        raise BadArtifact(
            f"{where} has no weights yet; call the module once, on an image, before it is compiled"
        )
    if tensor.is_meta:
        raise BadArtifact(
            f"{where} has its weights on the meta device, which keeps no numbers; load them first "
            "(to_empty, then load_state_dict)"
        )
    if tensor.layout != torch.strided:
        kind = str(tensor.layout).removeprefix("torch.")
        raise BadArtifact(f"{which} is {kind}; keep it dense: call .to_dense()")
    if tensor.is_quantized:
        raise BadArtifact(
            f"{which} is quantised already; give it in float32: call .dequantize(), and take "
            "--precision int8"
        )
