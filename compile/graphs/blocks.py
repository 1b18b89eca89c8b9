"""Where a network can be cut: the places where one tensor alone carries everything on.

A graph is a list of operations, whatever it was read from (torch.export, ONNX, TorchScript). Each
knows the module that it came from, so a place in one graph is found again in another by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compile.errors import CheckFailed
from compile.graphs.names import module_of

if TYPE_CHECKING:
    from torch.fx import Graph, Node

Key = tuple[str, int]
"""A module's path, and which of its runs it is, from 1 on: one ReLU may serve a whole network."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One step of a graph."""

    output: str
    """Name of what it gives."""
    inputs: tuple[str, ...]
    """Names of what it reads; weights may be among them."""
    module: str | None
    """Path of the innermost module it belongs to, "" for the network's own code, None where the
    graph does not say."""
    whole: bool = True
    """Whether the output is one tensor."""


@dataclass(frozen=True, kw_only=True)
class End:
    """Where a module is through."""

    key: Key
    output: str
    """The tensor there."""
    index: int
    """Its operation's place among those that depend on the input."""
    cut: bool
    """Whether everything later depends on the input through this tensor alone."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """What lies between two cuts that two graphs have in common."""

    name: str
    """`layer1.0`; `conv2..relu2` where no one module holds it all."""
    end: End | None
    """In the reference's graph; None for the network's own output."""
    inner: tuple[End, ...]
    """Ends of modules inside, in the order in which they run, where other tensors are alive too."""
    modules: frozenset[str]
    """Paths of the modules whose operations lie in it."""


class Steps:
    """A graph's operations from its input to its output, and what ends where."""

    def __init__(self, operations: Sequence[Operation], start: str, output: str) -> None:
        known = {start}
        self.operations: list[Operation] = []
        for each in operations:
            if known.intersection(each.inputs):  # else it comes of weights alone
                self.operations.append(each)
                known.add(each.output)
        self._cuts = self._find_cuts(start, output)
        self.output = output
        self.ends = self._find_ends()

    def _find_cuts(self, start: str, output: str) -> set[int]:
        """After which operations one tensor is alive, and that their own."""
        born = {start: -1} | {each.output: i for i, each in enumerate(self.operations)}
        last = {name: i for i, each in enumerate(self.operations) for name in each.inputs}
        last[output] = len(self.operations)
        alive = [0] * (len(self.operations) + 1)
        for name, at in born.items():
            for i in range(max(at, 0), last.get(name, at)):
                alive[i] += 1
        return {
            i
            for i, each in enumerate(self.operations)
            if alive[i] == 1 and last.get(each.output, i) > i
        }

    def _find_ends(self) -> list[End]:
        """The last operation of each run of a module.

        Where an operation of nobody reads what a module gave last, it may belong to the module:
        then the module's end is not known.
        """
        runs: dict[str, int] = {}
        found: list[End] = []
        module = ""
        for i, each in enumerate(self.operations):
            if each.module is None:
                if found and found[-1].output in each.inputs:
                    found.pop()
                continue
            if each.module != module:
                module = each.module
                runs[module] = runs.get(module, 0) + 1
            key = (module, runs.get(module, 0))
            if found and found[-1].key == key:
                found.pop()  # the module goes on
            if module and each.whole:
                found.append(End(key=key, output=each.output, index=i, cut=i in self._cuts))
        return found


def blocks(reference: Steps, others: Iterable[Key]) -> list[Block]:
    """The blocks of `reference` that end where another graph has an end of the same key.

    Raises CheckFailed for a network without named modules.
    """
    keys = set(others)
    named = [each for each in reference.ends if each.key in keys]
    if not named:
        raise CheckFailed(
            "no module of the network was found again in the artifact's graph; give its layers "
            "names: self.conv1 = nn.Conv2d(...)"
        )
    cuts = [end for end in named if end.cut and end.output != reference.output]
    found: list[Block] = []
    first = 0
    for end, following in zip([*cuts, None], [*cuts[1:], None, None], strict=False):
        after = end.index + 1 if end else len(reference.operations)
        modules = _modules(reference, first, after)
        name = _name(modules)
        beyond = following.index + 1 if following else len(reference.operations)
        rest = _modules(reference, after, beyond)
        goes_on = end and end.key[0] == name and all(each.startswith(f"{name}.") for each in rest)
        if end and (goes_on or not rest):
            continue  # its module calls another one last, or code of the network's own follows
        last = end.output if end else reference.output
        inner = [each for each in named if first <= each.index < after and each.output != last]
        found.append(
            Block(
                name=_unlike(name, [block.name for block in found]),
                end=end,
                inner=tuple(inner),
                modules=frozenset(modules),
            )
        )
        first = after
    return found


def _modules(steps: Steps, first: int, after: int) -> list[str]:
    """The named modules that operations of a range come from."""
    return [each.module for each in steps.operations[first:after] if each.module]


def _name(modules: Sequence[str]) -> str:
    """The module that holds them all, or the first and the last."""
    parts = [each.split(".") for each in modules]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common) or f"{modules[0]}..{modules[-1]}"


def _unlike(name: str, taken: Sequence[str]) -> str:
    """The name, numbered where the same module ran before."""
    count = sum(each.partition(" ")[0] == name for each in taken)
    return f"{name} ({count + 1})" if count else name


def steps(graph: Graph, wrappers: int) -> Steps:
    """The steps of an exported graph, without the `wrappers` around the network."""
    operations = [
        Operation(
            output=node.name,
            inputs=tuple(each.name for each in node.all_input_nodes),
            module=unwrapped(module_of(node), wrappers),
            whole=_is_tensor(node),
        )
        for node in graph.nodes
        if node.op == "call_function" and not _is_size(node)
    ]
    (start, *_) = (node for node in graph.nodes if _is_image(node))
    (end,) = (node for node in graph.nodes if node.op == "output")
    return Steps(operations, start.name, end.all_input_nodes[0].name)


def unwrapped(path: str, wrappers: int) -> str:
    """A module's path without the wrappers of compile.network.prepare around the network."""
    for _ in range(wrappers):
        path = path.removeprefix("module").removeprefix(".")
    return path


def _is_image(node: Node) -> bool:
    """The one placeholder that is no weight: torch.export puts the inputs last."""
    rest = node.graph.find_nodes(op="placeholder")
    return node.op == "placeholder" and node is list(rest)[-1]


def _is_tensor(node: Node) -> bool:
    return hasattr(node.meta.get("val"), "shape")


def _is_size(node: Node) -> bool:
    """Whether it gives numbers, such as the batch, and not what the network computes."""
    value = node.meta.get("val")
    return value is not None and not hasattr(value, "shape") and not isinstance(value, tuple | list)
