"""Values from inside a TorchScript file: its frozen graph with more outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from compile.graphs.blocks import Operation, Steps, unwrapped
from compile.graphs.taps import Tapped, ends_of

Nodes = Sequence[tuple[Any, str | None]]
"""The nodes of a graph in order, each with the path of its module."""


class ScriptTaps:
    """A frozen TorchScript graph with more outputs."""

    costly = False

    def __init__(self, graph: Any, nodes: Nodes, wrappers: int) -> None:
        """`graph` and `nodes` are those of torchscript.named_graph."""
        self.graph = graph
        operations = [
            Operation(
                output=node.outputsAt(0).debugName(),
                inputs=tuple(each.debugName() for each in node.inputs()),
                module=None if path is None else unwrapped(path, wrappers),
            )
            for node, path in nodes
            if node.outputsSize() and node.kind() != "aten::size"
        ]
        self._inputs = [each.debugName() for each in self.graph.inputs()]
        (output,) = self.graph.outputs()
        made = output.node()
        several = made.inputs() if made.kind() == "prim::TupleConstruct" else [output]
        self.outputs = tuple(each.debugName() for each in several)
        self.ends = ends_of(Steps(operations, self._inputs[-1], *self.outputs))

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """The values, from a copy of the graph that gives them."""
        graph = self.graph.copy()
        values = {value.debugName(): value for node in graph.nodes() for value in node.outputs()}
        graph.eraseOutput(0)
        for name in outputs:
            # Negated at once, which rounds nothing: a later step may write into the value itself.
            kept = graph.create("aten::neg", [values[name]])
            kept.insertAfter(values[name].node())
            graph.registerOutput(kept.output())
        graph.makeMultiOutputIntoTuple()
        if len(self._inputs) > 1:
            graph.eraseInput(0)  # the module itself, of which a frozen graph reads nothing
        function = torch._C._create_function_from_graph("forward", graph)

        def run(x: torch.Tensor) -> list[torch.Tensor]:
            with torch.no_grad():
                return [-value.float() for value in function(x)]

        return run
