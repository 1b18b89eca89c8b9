"""Quantised ONNX graphs without rounding that changes nothing.

torchao rounds before and after a concatenation or a max pool, so that a backend may compute them in
8 bits. OpenVINO finds that out by itself, and its compiler crashes if a concatenation is rounded to
a grid with a zero point, and then to another grid (2026.4.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compile.backends.qdq import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

_CHOOSE = ("Concat", "MaxPool", "Reshape", "Transpose")
"""Operators whose results are some of the numbers that they are given."""


def drop_repeats(model: ModelProto) -> ModelProto:
    """Change a graph in place and return it: nothing is rounded to a grid on which it lies already.

    The values stay the same, to the bit.
    """
    graph = Graph(model)
    grids: dict[str, tuple[str, ...]] = {}
    """Tensor -> names of the scale and the zero point of the grid on which it lies."""
    instead: dict[str, str] = {}
    """Rounded tensor -> the same before it was rounded once more."""
    for node in model.graph.node:
        given = [instead.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(given)
        (result, *_) = node.output
        if node.op_type == "DequantizeLinear":
            grids[result] = tuple(given[1:])
            rounded = graph.producers.get(given[0])
            if rounded is not None and rounded.op_type == "QuantizeLinear":
                before, *grid = rounded.input
                if grids.get(before) == tuple(grid) == grids[result]:
                    instead[result] = before
        elif node.op_type in _CHOOSE:
            chosen = given if node.op_type == "Concat" else given[:1]
            found = {grids.get(name, ()) for name in chosen}
            if len(found) == 1:
                grids[result] = found.pop()
    graph.clean()
    return model
