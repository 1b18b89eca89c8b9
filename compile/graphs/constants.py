"""What an exported graph computes from its weights alone, and which operators its steps call."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from compile.graphs.effects import draws

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.fx import Node

LAYOUT = frozenset(
    f"aten::{name}"
    for name in (
        *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view"),
        *("permute", "transpose", "t", "numpy_T", "movedim", "swapaxes", "contiguous", "clone"),
        *("alias", "detach", "lift_fresh_copy", "slice", "select", "narrow", "flip", "expand"),
        *("chunk", "split", "split_with_sizes", "unbind", "cat", "stack", "to", "_to_copy"),
    )
)
"""Operators that move values and change none."""


def operator(node: object) -> str:
    """What a step calls, such as aten::conv2d, in any overload; "" if it calls none.

    An operator that writes into what it is given has the name of the one that does not.
    """
    name = getattr(getattr(node, "target", None), "name", None)
    called = getattr(node, "op", None) == "call_function" and callable(name)
    return str(name()).split(".")[0].rstrip("_") if called and callable(name) else ""


def moves_values(node: Node) -> bool:
    """Whether a step changes none of the values that it is given, in a tensor or a list of them."""
    return operator(node) in LAYOUT or getattr(node.target, "__name__", "") == "getitem"


class Constants:
    """The steps of a graph that depend on parameters and buffers alone, and their values."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        signature = program.graph_signature
        self.names: dict[str, str] = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        """Name of a graph's input -> the parameter, buffer or constant that it stands for."""
        self.nodes: set[Node] = set()
        """The constant steps, and the graph's inputs that are constant."""
        for node in program.graph.nodes:
            computed = node.op == "call_function" and self.nodes.issuperset(node.all_input_nodes)
            computed = computed and not draws(node) and not _is_of_vmap(node)
            if computed or (node.op == "placeholder" and node.name in self.names):
                self.nodes.add(node)
        self._computed = cache(self._compute)

    def stored(self, node: Node) -> torch.Tensor:
        """The parameter, buffer or constant that an input of the graph stands for, as it is."""
        name = self.names[node.name]
        value: Any = self.program.state_dict.get(name)
        return (self.program.constants[name] if value is None else value).detach()

    def value(self, node: Node, dtype: torch.dtype) -> torch.Tensor | None:
        """A constant where all is computed in `dtype`; None if PyTorch cannot, or for a list."""
        import torch

        if node.op == "placeholder":
            return _as(self.stored(node), dtype)
        value = self._computed(dtype).get(node)
        return value.detach() if isinstance(value, torch.Tensor) else None

    def _compute(self, dtype: torch.dtype) -> dict[Node, Any]:
        """All computed constants, in the graph's order: a step may write into what it is given."""
        import torch
        from torch.fx.node import map_arg
        from torch.utils._pytree import tree_map

        def as_wanted(given: Any) -> Any:
            floating = isinstance(given, torch.dtype) and given.is_floating_point
            return dtype if floating else given

        known: dict[Node, Any] = {}
        for node in (each for each in self.program.graph.nodes if each in self.nodes):
            if node.op == "placeholder":
                if self.nodes.intersection(node.users):
                    known[node] = _as(self.stored(node), dtype).clone()
                continue
            with suppress(Exception), torch.no_grad():  # without it, its users are unknown as well
                args, named = map_arg((node.args, node.kwargs), known.__getitem__)
                known[node] = node.target(*tree_map(as_wanted, args), **tree_map(as_wanted, named))
        return known


def _as(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _is_of_vmap(node: Node) -> bool:
    """Whether a step begins or ends the work of torch.vmap: it means nothing by itself."""
    return "functorch" in str(getattr(node.target, "__module__", ""))
