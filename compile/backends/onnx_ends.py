"""Where in an .onnx the modules of the network end, which `zoo bisect` asks."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from compile.backends import onnx_session
from compile.graphs.blocks import Operation, Steps

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

_SCOPES = "pkg.torch.onnx.name_scopes"
"""The exporter's entry: the paths from the outermost module to the innermost, then the node."""


def mark_ends(written: ModelProto, simplified: ModelProto) -> None:
    """Mark in the simplified graph where modules end in the exporter's: onnxsim drops all metadata
    and joins nodes, but a tensor that keeps its name keeps its values.
    """
    ends = {end.output: end.key for end in _steps(written.graph).ends}
    for node in simplified.graph.node:
        del node.metadata_props[:]
        if node.output[0] in ends:
            path, run = ends[node.output[0]]
            node.metadata_props.add(key=onnx_session.ENDS, value=f"{run} {path}")


def _steps(graph: GraphProto) -> Steps:
    """The operations of the exporter's graph, with the modules they came from."""
    operations = []
    for node in graph.node:
        scopes = {entry.key: entry.value for entry in node.metadata_props}.get(_SCOPES)
        module = ["", *ast.literal_eval(scopes)][-2] if scopes else None
        if node.op_type not in ("Shape", "Size"):  # which read no values
            inputs = tuple(name for name in node.input if name)
            operations.append(Operation(output=node.output[0], inputs=inputs, module=module))
    return Steps(operations, graph.input[0].name, *(output.name for output in graph.output))
