"""Where a network can be cut: the places where all that follows depends on one tensor alone.

A graph is a list of operations, whatever it was read from (torch.export, ONNX, TorchScript). Each
knows the module that it came from, so a place in one graph is found again in another by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from compile.errors import CheckFailed
from compile.graphs.names import module_of, own_path

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
    """Path of the innermost module that it belongs to. "" stands for the network's own code, None
    for an operation whose module the graph does not name."""
    whole: bool = True
    """Whether the output is one tensor."""


@dataclass(frozen=True, kw_only=True)
class End:
    """The place in a graph where a run of a module ends."""

    key: Key
    output: str
    """The tensor that the run ends with."""
    index: int
    """The number of its operation among those that depend on the input."""
    cut: bool
    """Whether all later operations depend on the input through this tensor alone."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """The part of a network between two cuts that two graphs have in common."""

    name: str
    """`layer1.0`; `conv2..relu2` where no single module holds it all."""
    end: End | None
    """In the reference's graph; None for the network's own output."""
    inner: tuple[End, ...]
    """Ends of modules inside, in the order in which they run."""
    modules: frozenset[str]
    """Paths of the modules whose operations lie in it."""


class Steps:
    """A graph's operations from its input to its outputs, and what ends where."""

    def __init__(self, operations: Sequence[Operation], start: str, *outputs: str) -> None:
        known = {start}
        self.operations: list[Operation] = []
        for each in operations:
            if known.intersection(each.inputs):  # else it depends on weights alone
                self.operations.append(each)
                known.add(each.output)
        made = [each.output for each in self.operations if each.output in outputs]
        self.outputs = outputs
        self.output = made[-1] if made else outputs[-1]  # the last that is made
        self._cuts = self._find_cuts(start, self.output)
        self.ends = self._find_ends()

    def _find_cuts(self, start: str, output: str) -> set[int]:
        """The operations whose output is the one tensor that later operations still need.

        `output` is the graph's last one. Earlier ones need nothing more.
        """
        made_at = {start: -1} | {each.output: i for i, each in enumerate(self.operations)}
        last_read = {name: i for i, each in enumerate(self.operations) for name in each.inputs}
        last_read[output] = len(self.operations)
        needed_after = [0] * (len(self.operations) + 1)  # how many tensors, for each operation
        for name, made in made_at.items():
            for i in range(max(made, 0), last_read.get(name, made)):
                needed_after[i] += 1
        return {
            i
            for i, each in enumerate(self.operations)
            if needed_after[i] == 1 and last_read.get(each.output, i) > i
        }

    def _find_ends(self) -> list[End]:
        """The last operation of each run of a module.

        An operation of an unknown module may belong to the module whose output it reads. Then that
        module's end is not known.
        """
        runs: dict[str, int] = {}
        ends: list[End] = []
        module = ""
        for i, each in enumerate(self.operations):
            if each.module is None:
                if ends and ends[-1].output in each.inputs:
                    ends.pop()
                continue
            if each.module != module:
                module = each.module
                runs[module] = runs.get(module, 0) + 1
            key = (module, runs.get(module, 0))
            if ends and ends[-1].key == key:
                ends.pop()  # the module goes on
            if module and each.whole:
                ends.append(End(key=key, output=each.output, index=i, cut=i in self._cuts))
        return ends


def blocks(reference: Steps, others: Iterable[Key]) -> list[Block]:
    """The blocks of `reference` that end where another graph, of ends `others`, has an end too.

    Together they hold every operation; the last one ends with the network's output. Raises
    CheckFailed for a network without named modules.
    """
    shared = _shared_ends(reference, others)
    result: list[Block] = []
    first = 0
    for end in [*_block_ends(reference, shared), None]:
        after = end.index + 1 if end else len(reference.operations)
        output = end.output if end else reference.output
        modules = _modules(reference, first, after)
        inside = [each for each in shared if first <= each.index < after]
        result.append(
            Block(
                name=_unlike(_name(modules), [block.name for block in result]),
                end=end,
                inner=tuple(each for each in inside if each.output != output),
                modules=frozenset(modules),
            )
        )
        first = after
    return result


def _shared_ends(reference: Steps, others: Iterable[Key]) -> list[End]:
    """The ends of `reference` that the other graph has too."""
    keys = set(others)
    shared = [end for end in reference.ends if end.key in keys]
    if not shared:
        raise CheckFailed(
            "no module of the network was found again in the artifact's graph; give its layers "
            "names: self.conv1 = nn.Conv2d(...)"
        )
    return shared


def _block_ends(reference: Steps, shared: Sequence[End]) -> list[End]:
    """The cuts where a block ends. The last block, which ends with the network, has none.

    No block ends where its module goes on, or where only the network's own code follows.
    """
    cuts = [end for end in shared if end.cut and end.output != reference.output]
    starts = [*(cut.index + 1 for cut in cuts), len(reference.operations)]
    ends = []
    first = 0
    for cut, (after, next_after) in zip(cuts, pairwise(starts), strict=True):
        following = _modules(reference, after, next_after)
        goes_on = _goes_on(cut.key[0], _modules(reference, first, after), following)
        if following and not goes_on:
            ends.append(cut)
            first = after
    return ends


def _goes_on(module: str, so_far: Sequence[str], following: Sequence[str]) -> bool:
    """Whether `module`, which holds all modules of a block so far, holds the following ones too.

    So it is where a module's own code runs between two modules that it calls.
    """
    return module == _name(so_far) and all(each.startswith(f"{module}.") for each in following)


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
    return Steps(operations, start.name, *_returned(end))


def _returned(end: Node) -> list[str]:
    """The names of the tensors that a graph returns, one as often as it is returned."""
    from torch.fx import map_arg

    names: list[str] = []
    map_arg(end.args, lambda node: names.append(node.name))
    return names


def unwrapped(path: str, wrappers: int) -> str:
    """A module's path inside the network; `wrappers` of compile.network.prepare are around it."""
    for _ in range(wrappers):
        path = path.removeprefix("module").removeprefix(".")
    return own_path(path)


def _is_image(node: Node) -> bool:
    """Whether it is the network's input: torch.export puts it behind the weights."""
    placeholders = node.graph.find_nodes(op="placeholder")
    return node.op == "placeholder" and node is list(placeholders)[-1]


def _is_tensor(node: Node) -> bool:
    """Whether it gives one tensor."""
    return hasattr(node.meta.get("val"), "shape")


def _is_size(node: Node) -> bool:
    """Whether it gives numbers, such as the batch, and not what the network computes."""
    value = node.meta.get("val")
    return value is not None and not hasattr(value, "shape") and not isinstance(value, tuple | list)
