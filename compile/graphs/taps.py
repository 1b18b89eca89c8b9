"""Values from inside a saved program, found by the module they end.

Some saved graphs can give more outputs, all in one run. Where a compiler fuses steps, the part of
the graph up to one place is compiled by itself, as the whole was.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import fx, nn

from compile.graphs.blocks import Key, Steps, steps
from compile.returned import Returned, as_tuple

Tapped = Callable[[torch.Tensor], list[torch.Tensor]]
"""An input of a program in, float32 values from inside out."""


class Taps(Protocol):
    """A saved program that gives values from inside."""

    ends: dict[Key, str]
    """The tensor at the end of each run of a module."""
    outputs: tuple[str, ...]
    """The tensors that the program gives."""
    costly: bool
    """Whether each value takes seconds and more to compile."""

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """Return what gives the values of the tensors `outputs` for a batch of the program's."""


def ends_of(steps: Steps) -> dict[Key, str]:
    """The tensor at the end of each run of a module."""
    return {end.key: end.output for end in steps.ends}


class GraphTaps:
    """An exported graph, run operator by operator."""

    costly = False

    def __init__(self, module: nn.Module, wrappers: int) -> None:
        assert isinstance(module, fx.GraphModule)
        self.module = module
        self.steps = steps(module.graph, wrappers)
        self.ends, self.outputs = ends_of(self.steps), self.steps.outputs

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """The values, each copied at once: a later step may write into it."""

        def run(x: torch.Tensor) -> list[torch.Tensor]:
            watching = _Watching(self.module, set(outputs))
            with torch.no_grad(), suppress(_AllSeen):
                watching.run(x)
            return [watching.seen[name] for name in outputs]

        return run


class _Watching(fx.Interpreter):
    """Runs a graph and keeps what some of its nodes give; what it asserts of dtypes is left out."""

    def __init__(self, module: fx.GraphModule, wanted: set[str]) -> None:
        super().__init__(module)
        self.extra_traceback = False  # what ends a run is not an error
        self.wanted = wanted
        self.seen: dict[str, torch.Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """One node, and its value if it is wanted."""
        if n.target == "_guards_fn" or "_assert_" in str(n.target):
            return None
        value = super().run_node(n)
        if n.name in self.wanted:
            self.seen[n.name] = value.detach().clone()
            if len(self.seen) == len(self.wanted):
                raise _AllSeen
        return value


class _AllSeen(Exception):
    """The rest of the graph is of no interest."""


class Prefixes:
    """The first part of an exported graph, compiled by itself."""

    costly = True

    def __init__(
        self,
        module: nn.Module,
        wrappers: int,
        build: Callable[[nn.Module], Callable[[torch.Tensor], Returned]],
    ) -> None:
        """`build` compiles a part of `module` as the whole was."""
        assert isinstance(module, fx.GraphModule)
        self.module, self.build = module, build
        inside = steps(module.graph, wrappers)
        self.ends, self.outputs = ends_of(inside), inside.outputs

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """The values, one compilation each."""
        parts = [self.build(_prefix(self.module, name)) for name in outputs]

        def run(x: torch.Tensor) -> list[torch.Tensor]:
            with torch.no_grad():
                return [value for part in parts for value in as_tuple(part(x))]

        return run


def _prefix(module: fx.GraphModule, output: str) -> fx.GraphModule:
    """The part of a graph that computes the tensor `output`, as float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's own way to copy graphs
        part = copy.deepcopy(module)
    graph = part.graph
    nodes = list(graph.nodes)
    (cut,) = (node for node in nodes if node.name == output)
    (end,) = (node for node in nodes if node.op == "output")
    with graph.inserting_before(end):
        given = graph.call_function(torch.ops.aten.to.dtype, (cut, torch.float32))
    end.args = ((given,),)
    for node in reversed(nodes[nodes.index(cut) + 1 :]):
        if not node.users and node.op == "call_function":
            graph.erase_node(node)
    graph.eliminate_dead_code()
    part.recompile()
    return part
