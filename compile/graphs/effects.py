"""What an exported graph does besides computing: it draws random numbers, or writes to its state.

A call shows what happens on its way. The graph also shows what lies in a branch that was not taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node

from compile.errors import CheckFailed
from compile.graphs.names import module_of, own_path

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_OFF = {"train": (False,), "training": (False,), "p": (0, 1), "dropout": (0,), "dropout_p": (0,)}
"""Arguments of random operators, and the values at which they draw nothing that matters."""

_STATE = {
    InputKind.PARAMETER: "weight",
    InputKind.BUFFER: "buffer",
    InputKind.CONSTANT_TENSOR: "constant",
}


def check_effects(exported: ExportedProgram) -> None:
    """Raise CheckFailed for a graph that draws random numbers, or writes to what it keeps."""
    for found in effects(exported):
        raise CheckFailed(found)


def effects(exported: ExportedProgram) -> Iterator[str]:
    """Yield what the graph does besides computing, in words: the layer, the operator, a remedy."""
    owned = {
        spec.arg.name: (
            f"{_STATE[spec.kind]} '{own_path(spec.target)}'",
            "change it only in training",
        )
        for spec in exported.graph_signature.input_specs
        if spec.kind in _STATE
    } | dict.fromkeys(exported.graph_signature.user_inputs, ("its input", "clone it first"))
    for module in exported.graph_module.modules():
        if not isinstance(module, GraphModule):
            continue
        needed = needed_steps(module)
        for node in module.graph.nodes:
            if node in needed and draws(node):
                yield (
                    f"{_where(node)} draws random numbers in eval (torch's {_operator(node)}); "
                    "pass training=self.training, or draw once in __init__"
                )
        if module is exported.graph_module:  # a branch may not write to what it is given
            for node in module.graph.nodes:
                for root in map(_root, _written(node)):
                    if root.name in owned:
                        what, remedy = owned[root.name]
                        yield (
                            f"{_where(node)} writes to {what} ({_operator(node)}) in eval; {remedy}"
                        )


def _where(node: Node) -> str:
    name = own_path(module_of(node))
    return f"layer '{name}'" if name else "the module"


def _operator(node: Node) -> str:
    return node.target.overloadpacket.__name__  # type: ignore[union-attr]


def needed_steps(module: GraphModule) -> set[Node]:
    """The steps that the output is computed from, those that write to their results included."""
    waiting = [node for node in module.graph.nodes if node.op == "output"]
    needed: set[Node] = set()
    writers: dict[Node, list[Node]] = {}
    for node in module.graph.nodes:
        for written in _written(node):
            writers.setdefault(_root(written), []).append(node)
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            if node.target is torch.ops.aten.mul.Tensor and 0 in node.args:  # noise of size 0
                continue
            waiting += [*node.all_input_nodes, *writers.get(_root(node), ())]
    return needed


def draws(node: Node) -> bool:
    """Whether a step calls a random operator in such a way that its result is random."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    if torch.Tag.nondeterministic_seeded not in node.target.tags:
        return False
    given = _arguments(node)
    return not any(given.get(name) in values for name, values in _OFF.items() if name in given)


def _arguments(node: Node) -> dict[str, object]:
    """A step's arguments by name, those that were left out included."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = {each.name: each.default_value for each in schema if each.has_default_value()}
    given |= dict(zip((each.name for each in schema), node.args, strict=False))
    return {**given, **node.kwargs}


def _written(node: Node) -> Iterator[Node]:
    """The tensors that a step writes to."""
    if isinstance(node.target, torch._ops.OpOverload):
        given = _arguments(node)
        for each in node.target._schema.arguments:
            value = given.get(each.name)
            if each.alias_info is not None and each.alias_info.is_write and isinstance(value, Node):
                yield value


def _root(node: Node) -> Node:
    """The step that made the memory which a step's result lies in, as far as that is certain.

    Some operators may copy (`to`, `reshape`, `contiguous`), and are taken for a copy.
    """
    while isinstance(node.target, torch._ops.OpOverload):
        returned = node.target._schema.returns
        if not returned or returned[0].alias_info is None or _operator(node) in _MAY_COPY:
            break
        if not node.args or not isinstance(node.args[0], Node):
            break
        node = node.args[0]
    return node


_MAY_COPY = {"to", "reshape", "contiguous", "type_as", "flatten"}
