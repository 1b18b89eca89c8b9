"""Exported graphs without the regions that torch.no_grad and a disabled autocast make.

torch.export puts what runs inside such a region into a graph of its own, which passes over a graph
do not look into. Neither region changes a value in evaluation outside autocast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

_ASSERTED = torch.ops.aten._assert_tensor_metadata.default
_CAST = torch.ops.aten.to.dtype


def without_regions(graph: GraphModule) -> GraphModule:
    """Change a graph in place and return it: the steps of its regions stand in the graph itself.

    Casts of float32 to float32 and asserted types, which come with a disabled autocast, go as well.
    A region of an enabled autocast stays.
    """
    for node in [*graph.graph.nodes]:
        place = _region_of(node)
        if place is not None:
            _inline(graph, node, place)
    for node in graph.graph.nodes:
        if node.target is _CAST and _is_float32(node) and _is_float32(node.args[0]):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
        elif node.target is _ASSERTED:
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def _region_of(node: Node) -> int | None:
    """Where among a step's arguments the graph of its region stands; None if it has none."""
    if str(node.target) == "wrap_with_set_grad_enabled":
        return 1
    if str(node.target) == "wrap_with_autocast" and node.args[2] is False:
        return 4
    return None


def _inline(graph: GraphModule, node: Node, place: int) -> None:
    """Write the region's steps in place of the one that runs it; its own regions first, whose names
    mean something else outside it. A region with constants of its own stays.
    """
    holder: Any = node.args[place]
    inner = without_regions(getattr(graph, str(holder.target))).graph
    if any(each.op == "get_attr" for each in inner.nodes):
        return
    inputs = [each for each in inner.nodes if each.op == "placeholder"]
    with graph.graph.inserting_before(node):
        copied = dict(zip(inputs, node.args[place + 1 :], strict=True))
        results: Any = graph.graph.graph_copy(inner, copied)
    for user in [*node.users]:  # a region gives a tuple, of which each step takes one
        user.replace_all_uses_with(results[user.args[1]])
        graph.graph.erase_node(user)
    graph.graph.erase_node(node)
    if not holder.users:
        graph.graph.erase_node(holder)


def _is_float32(value: object) -> bool:
    return getattr(getattr(value, "meta", {}).get("val"), "dtype", None) == torch.float32
