"""Lift an exported graph to float64: its constants, and every cast that its steps name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from torch.export import ExportedProgram

LIFTED = {
    torch.float32: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float16: torch.float64,
    torch.complex64: torch.complex128,
    torch.complex32: torch.complex128,
}
"""Number types that round more than float64, and what takes their place."""


def lift(graph: fx.GraphModule) -> set[torch.dtype]:
    """Make `graph` compute in float64, in place; the names of its steps stay.

    Casts to a smaller float become casts to float64, autocast regions are switched off, and what
    the graph asserts of number types is left out. Run it inside `float64_by_default`: a step that
    names no type takes the default. Returns the smaller types that the graph computed in.

    Raises ValueError for a step that reads the bits of a number: they mean nothing in float64.
    """
    lifted: set[torch.dtype] = set()
    for part in graph.modules():
        lifted |= _lift_constants(part)
        if isinstance(part, fx.GraphModule):
            lifted |= _lift_steps(part)
    return lifted


def types_inside(program: ExportedProgram) -> frozenset[str]:
    """Names of the floating-point types besides float32 that a graph computes in or holds."""
    found: set[torch.dtype] = {
        each.dtype
        for held in (program.state_dict, program.constants)
        for each in held.values()
        if isinstance(each, torch.Tensor)
    }
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            if str(node.target) == "wrap_with_autocast":
                found |= {node.args[1] or torch.bfloat16} if node.args[2] else set()
            for leaf in tree_leaves((node.args, node.kwargs, node.meta.get("val"))):
                leaf = leaf.dtype if isinstance(leaf, torch.Tensor) else leaf
                found |= {leaf} if isinstance(leaf, torch.dtype) else set()
    floats = {each for each in found if each.is_floating_point}
    return frozenset(str(each).removeprefix("torch.") for each in floats - {torch.float32})


@contextmanager
def float64_by_default() -> Iterator[None]:
    """Tensors that are made without a type are float64, such as torch.linspace(0, 1, 8)."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _lift_constants(part: nn.Module) -> set[torch.dtype]:
    """Parameters, buffers, and the plain attributes in which graphs keep other constants."""
    lifted = set()
    places: tuple[dict[str, Any], ...] = (part._parameters, part._buffers, vars(part))
    for held in places:
        for name, value in list(held.items()):
            if isinstance(value, torch.Tensor) and value.dtype in LIFTED:
                lifted.add(value.dtype)
                wide = value.detach().to(LIFTED[value.dtype])
                parameter = isinstance(value, nn.Parameter)
                held[name] = nn.Parameter(wide, requires_grad=False) if parameter else wide
    return lifted


def _lift_steps(part: fx.GraphModule) -> set[torch.dtype]:
    """The steps of one graph; those of the graphs that it calls are lifted by themselves."""
    lifted: set[torch.dtype] = set()

    def wide(value: Any) -> Any:
        if isinstance(value, torch.dtype) and value in LIFTED:
            lifted.add(value)
            return LIFTED[value]
        return value

    for node in list(part.graph.nodes):
        target = str(node.target)
        if target == "_guards_fn" or "_assert_tensor_metadata" in target:
            part.graph.erase_node(node)
        elif target == "aten.view.dtype":
            raise ValueError(f"{node.name} reads the bits of a number")
        elif target == "wrap_with_autocast":
            device, dtype, enabled, *rest = node.args
            lifted |= {dtype or torch.bfloat16} if enabled else set()
            node.args = (device, dtype, False, *rest)
        elif node.op == "call_function":
            node.args = tuple(map(wide, node.args))
            node.kwargs = {key: wide(each) for key, each in node.kwargs.items()}
    part.recompile()
    return lifted
