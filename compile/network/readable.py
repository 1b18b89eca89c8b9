"""Rewrite what torchao cannot read in an exported graph: padding as a word, sums with a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from compile.network.regions import without_regions

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

_WORDS = torch.ops.aten.conv2d.padding
_NUMBERS = torch.ops.aten.conv2d.default
_PAD = torch.ops.aten.pad.default

_SUMS = (torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor)
_SOURCES = ("source_fn_stack", "torch_fn")
"""Metadata that says which function a step came from. torchao finds sums by it. It takes a sum
behind a convolution for a shortcut, and fails if what is added is a number and not a tensor."""


def readable(graph: GraphModule) -> GraphModule:
    """Change a graph in place and return it. It then has no regions, its 2D convolutions have
    numbers as padding, and torchao does not find its sums with a number.
    """
    without_regions(graph)
    for node in graph.graph.nodes:
        if node.target is _WORDS:
            _write_numbers(graph, node)
        elif node.target in _SUMS and isinstance(node.args[1], int | float):
            for source in _SOURCES:
                node.meta.pop(source, None)
    graph.recompile()
    return graph


def _write_numbers(graph: GraphModule, node: Node) -> None:
    names = [argument.name for argument in _WORDS._schema.arguments]
    given: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    dilation = given.get("dilation", [1, 1])
    kernel = given["weight"].meta["val"].shape[2:]
    if given.get("padding", "valid") == "valid":
        total = [0, 0]
    else:
        total = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    x = given["input"]
    if any(each % 2 for each in total):  # PyTorch pads one more at the bottom and on the right
        with graph.graph.inserting_before(node):
            x = graph.graph.call_function(_PAD, (x, [0, total[1] % 2, 0, total[0] % 2]))
        x.meta = {name: value for name, value in node.meta.items() if name != "val"}
    node.target = _NUMBERS
    node.args = (
        x,
        given["weight"],
        given.get("bias"),
        given.get("stride", [1, 1]),
        [each // 2 for each in total],
        dilation,
        given.get("groups", 1),
    )
    node.kwargs = {}
