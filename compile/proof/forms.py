"""Which constants a file may hold in place of a network's weights, read from the exported graph.

A compiler may compute what depends on weights alone, and may fold factors and shifts beside a layer
into it. For each layer of the graph this lists the values that its weight and bias may then have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

from compile.graphs.affine import Affine, before, behind, by_channel
from compile.graphs.constants import Constants, moves_values, operator
from compile.graphs.effects import needed_steps
from compile.graphs.names import module_of, own_path

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

_CONVOLUTIONS = frozenset(f"aten::conv{n}d" for n in (1, 2, 3))
_TRANSPOSED = frozenset(f"aten::conv_transpose{n}d" for n in (1, 2, 3))
_LAYERS = _CONVOLUTIONS | _TRANSPOSED | {"aten::linear"}

_TIMES_AS_WRONG = 2.0
"""A computed weight may be so many times as wrong as PyTorch's own value at the precision."""

_FACTOR = "a factor or shift stands beside it, which a compiler may fold into it"
_COMPUTED = "it is computed from other weights"
SAME_ANSWER = "its layer gives the same for every image, which a compiler may write instead"
_ONE_NUMBER = "all its values are the same, which a compiler may write as one number"


@dataclass(frozen=True, kw_only=True)
class Form:
    """Values that a file may hold for a weight, in any order."""

    values: torch.Tensor
    """Before they are rounded to the file's precision."""
    steps: float = 1.0
    """How many rounding steps, each of a value's own size, the file's values may be away."""
    apart: float = 0.0
    """How far they may be away besides, whatever their size."""
    roundings: float = 0.0
    """How many steps of the size of `size` they may be away besides: sums cancel out."""
    size: float = 0.0
    """The largest sum of a value's terms, each without its sign."""


@dataclass(frozen=True, kw_only=True)
class Weight:
    """A weight or bias that a layer of the graph reads."""

    name: str
    forms: Callable[[], Iterator[Form]]
    """What may stand in the file, the most likely first; computed anew at each call."""
    parts: tuple[Weight, ...] = ()
    """The file may hold all of these instead, and compute the weight from them when it runs."""
    undecided: str | None = None
    """Why a right file may hold none of the forms; None if it must hold one."""


def plain(name: str, values: torch.Tensor, undecided: str | None = None) -> Weight:
    """A weight that a file holds as it is, if it is not `undecided`."""
    return Weight(name=name, forms=lambda: iter([Form(values=values)]), undecided=undecided)


def weights_read(program: ExportedProgram, dtype: torch.dtype) -> list[Weight]:
    """The weights that convolutions and linear layers of a graph read, for a file in `dtype`.

    A weight that no step reads, or none that an output depends on, is not among them: that of a
    head for training, say.
    """
    constants = Constants(program)
    needed = needed_steps(program.graph_module)
    layers = [node for node in program.graph.nodes if operator(node) in _LAYERS and node in needed]
    return [
        weight
        for layer in layers
        for weight in _of_layer(_Layer(layer, constants, dtype), _siblings(layer, layers))
    ]


class _Layer:
    """A convolution or linear layer of the graph, and what stands beside it."""

    def __init__(self, node: Node, constants: Constants, dtype: torch.dtype) -> None:
        args: Any = node.args
        self.constants, self.dtype = constants, dtype
        self.node, self.path = node, own_path(module_of(node))
        self.weight: Node = args[1]
        self.bias: Node | None = args[2] if len(args) > 2 else None
        self.transposed = operator(node) in _TRANSPOSED
        linear = operator(node) == "aten::linear"
        output, given = node.meta["val"].ndim - 1, args[0].meta["val"].ndim - 1
        own = node.args[1].meta["val"].ndim - 2  # type: ignore[union-attr]
        self.behind = behind(node, output if linear else output - own, constants)
        self.before = before(args[0], given if linear else given - own, constants)

    def forms(self, node: Node) -> Iterator[Form]:
        """What may stand in the file for the layer's weight or bias."""
        bases = _itself(node, self.constants, self.dtype)
        yield from bases
        if not bases or not (self.behind or self.before):
            return
        values = self.constants.value(node, torch.float64)
        assert values is not None  # else it had no form
        make = self._scaled if node is self.weight else self._shifted
        for front in _prefixes(self.before):
            for back in _prefixes(self.behind):
                if front or back:
                    yield make(values, bases[0].apart, front, back)

    def undecided(self, node: Node) -> str | None:
        """Why a right file may hold none of the forms; None if it must hold one."""
        if self.node in self.constants.nodes:
            return SAME_ANSWER
        if not _only_moved(node, self.constants):
            return _COMPUTED
        if self.behind or self.before:
            return _FACTOR
        stored = self.constants.stored(node) if node.op == "placeholder" else None
        same = stored is not None and bool((stored == stored.flatten()[:1]).all())
        return _ONE_NUMBER if same else None

    def _scaled(
        self, weight: torch.Tensor, apart: float, front: Sequence[Affine], back: Sequence[Affine]
    ) -> Form:
        for each in front:
            weight = by_channel(weight, each.scale, first=self.transposed)
            apart *= float(each.scale.abs().max())
        for each in back:
            weight = by_channel(weight, each.scale, first=not self.transposed)
            apart *= float(each.scale.abs().max())
        steps = 1.0 + sum(each.roundings for each in (*front, *back))
        return Form(values=weight, steps=steps, apart=apart)

    def _shifted(
        self, bias: torch.Tensor, apart: float, front: Sequence[Affine], back: Sequence[Affine]
    ) -> Form:
        size = bias.abs()
        if front and not self.transposed:
            weight = self.constants.value(self.weight, torch.float64)
            for each in front if weight is not None else ():
                assert weight is not None
                shifted = by_channel(weight, each.shift, first=False).flatten(1).sum(1)
                size = size + by_channel(weight, each.shift, first=False).abs().flatten(1).sum(1)
                weight = by_channel(weight, each.scale, first=False)
                bias = bias + shifted
        for each in back:
            bias = bias * each.scale + each.shift
            size = size * each.scale.abs() + each.size
            apart *= float(each.scale.abs().max())
        roundings = sum(each.roundings + 1.0 for each in (*front, *back))
        return Form(values=bias, apart=apart, roundings=roundings, size=float(size.max()))


def _of_layer(layer: _Layer, siblings: Sequence[Node]) -> Iterator[Weight]:
    """The layer's weight and its bias."""
    for part, position in (("weight", 1), ("bias", 2)):
        node = layer.weight if part == "weight" else layer.bias
        if node is None or node not in layer.constants.nodes:
            continue
        joined = [each.args[position] for each in siblings if len(each.args) > position]
        yield Weight(
            name=own_path(layer.constants.names.get(node.name, f"{layer.path}.{part}".lstrip("."))),
            forms=partial(_with_joined, layer, node, joined),
            parts=_parts(node, layer.constants, layer.dtype),
            undecided=layer.undecided(node),
        )


def _with_joined(layer: _Layer, node: Node, joined: Sequence[Any]) -> Iterator[Form]:
    """The forms of one weight, then all that multiply the same input as one: q, k and v."""
    yield from layer.forms(node)
    if len(joined) > 1 and all(each in layer.constants.nodes for each in joined):
        values = [_itself(each, layer.constants, layer.dtype) for each in joined]
        if all(values):
            whole = torch.cat([each[0].values.flatten() for each in values])
            yield Form(values=whole, apart=max(each[0].apart for each in values))


def _siblings(layer: Node, layers: Sequence[Node]) -> list[Node]:
    """The linear layers that read what this one reads."""
    if operator(layer) != "aten::linear":
        return []
    return [
        each
        for each in layers
        if operator(each) == "aten::linear" and each.args[0] is layer.args[0]
    ]


def _prefixes(steps: Sequence[Affine]) -> list[list[Affine]]:
    """No step, the first, the first two, and so on."""
    return [[], *accumulate(([each] for each in steps), lambda before, new: before + new)]


def _itself(node: Node, constants: Constants, dtype: torch.dtype) -> list[Form]:
    """The values of a constant. A computed one may be off by twice PyTorch's error in `dtype`.

    It has a second form, PyTorch's own value in `dtype`: that may have zeros in the place of small
    numbers.
    """
    if node.op == "placeholder":
        return [Form(values=constants.stored(node))]
    exact, low = constants.value(node, torch.float64), constants.value(node, dtype)
    if exact is None:
        return []
    if low is None or _only_moved(node, constants):
        return [Form(values=exact)]
    apart = _TIMES_AS_WRONG * float((low.double() - exact).abs().max())
    return [Form(values=exact, apart=apart), Form(values=low, apart=apart)]


def _parts(node: Node, constants: Constants, dtype: torch.dtype) -> tuple[Weight, ...]:
    """What a computed constant is computed from."""
    if node.op == "placeholder":
        return ()

    def forms(part: Node) -> Iterator[Form]:
        for form in _itself(part, constants, dtype):
            if form.values.is_floating_point():
                yield form

    return tuple(
        Weight(
            name=own_path(constants.names.get(each.name, each.name)),
            forms=partial(forms, each),
            parts=_parts(each, constants, dtype),
        )
        for each in node.all_input_nodes
    )


def _only_moved(node: Node, constants: Constants) -> bool:
    """Whether a constant has the values that it is made from, in whatever order and shape."""
    if node.op == "placeholder":
        return True
    return moves_values(node) and all(_only_moved(each, constants) for each in node.all_input_nodes)
