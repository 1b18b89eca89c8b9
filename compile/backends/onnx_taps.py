"""Values from inside an .onnx: a graph with more outputs, or its first part compiled by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch

from compile.backends import onnx_session
from compile.errors import BadArtifact
from compile.graphs.blocks import Key, unwrapped
from compile.graphs.taps import Tapped


class OnnxTaps:
    """A model with more outputs."""

    costly = False

    def __init__(self, model: bytes, wrappers: int) -> None:
        import onnx as package

        self.model = package.load_from_string(model)
        self.ends: dict[Key, str] = {}
        for node in self.model.graph.node:
            marks = {entry.key: entry.value for entry in node.metadata_props}
            marked = marks.get(onnx_session.ENDS)
            if marked is not None:
                run, _, path = marked.partition(" ")
                if not run.isdecimal():
                    raise BadArtifact(f"the .onnx names a module's end '{marked}'; rebuild it")
                self.ends[unwrapped(path, wrappers), int(run)] = node.output[0]
        self.outputs = tuple(output.name for output in self.model.graph.output)

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """The values, cast to float32 in the graph: numpy has no bfloat16."""
        model = copy.deepcopy(self.model)
        del model.graph.output[:]
        _give(model, outputs)
        run = onnx_session.session(model.SerializeToString())
        return lambda x: [torch.from_numpy(value) for value in run(x.numpy())]


class OnnxPrefixes(OnnxTaps):
    """The first part of a model, compiled by itself."""

    def __init__(
        self, model: bytes, wrappers: int, session: Callable[[bytes], onnx_session.Session]
    ) -> None:
        """`session` compiles a part of `model` as the whole was."""
        super().__init__(model, wrappers)
        self.session = session

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """The values, one compilation each."""
        sessions = [self._part(name) for name in outputs]
        return lambda x: [torch.from_numpy(run(x.numpy())[0]) for run in sessions]

    def _part(self, output: str) -> onnx_session.Session:
        model = copy.deepcopy(self.model)
        _keep_before(model.graph, output)
        _give(model, [output])
        return self.session(model.SerializeToString())


def _give(model: Any, outputs: Sequence[str]) -> None:
    """Add tensors to the model's outputs, as float32."""
    import onnx as package

    for i, name in enumerate(outputs):
        node = package.helper.make_node("Cast", [name], [f"tap_{i}"], to=package.TensorProto.FLOAT)
        model.graph.node.append(node)
        model.graph.output.append(
            package.helper.make_tensor_value_info(f"tap_{i}", package.TensorProto.FLOAT, None)
        )


def _keep_before(graph: Any, output: str) -> None:
    """Remove what the tensor `output` does not depend on, and the graph's outputs."""
    needed = {output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    weights = [each for each in graph.initializer if each.name in needed]
    for field, values in (("node", kept[::-1]), ("initializer", weights), ("output", [])):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    graph.ClearField("value_info")
