"""What a saved program computes on its way: values from inside, found by the module they end.

onnx, torchscript and eager files are tapped: the saved graph gives more outputs, all in one run.
openvino, inductor and torch-compile fuse steps when they compile, so there the part of the graph up
to one place is compiled by itself, as the whole was.
"""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch
from torch import fx, nn

from compile.artifact.programs import ProgramFile
from compile.artifact.reading import Artifact, open_graph
from compile.backends import eager, inductor, onnx, openvino, torchscript
from compile.errors import BadArtifact, UsageError
from compile.graphs.blocks import Key, Operation, Steps, steps, unwrapped
from compile.spec import CompileSpec

_BACKENDS = ("eager", "torch-compile", "torchscript", "inductor", "onnx", "openvino")


Tapped = Callable[[torch.Tensor], list[torch.Tensor]]
"""An input of a program in, float32 values from inside out."""


class Taps(Protocol):
    """A saved program that gives values from inside."""

    ends: dict[Key, str]
    """The tensor at the end of each run of a module."""
    output: str
    """The tensor that the program gives."""
    costly: bool
    """Whether each value takes seconds and more to compile."""

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """Return what gives the values of the tensors `outputs` for a batch of the program's."""


def check_backend(name: str) -> None:
    """Raise UsageError for a backend whose programs give no values from inside."""
    if name.startswith("tensorrt"):
        raise UsageError(
            "a TensorRT engine gives no values from inside; bisect the onnx artifact of the same "
            "network"
        )
    if name not in _BACKENDS:
        raise UsageError(f"no way into a program of {name!r}; bisect knows {', '.join(_BACKENDS)}")


def open_taps(artifact: Artifact, program: ProgramFile, wrappers: int) -> Taps:
    """Open a program for tapping; `wrappers` are the modules around the network in its graph.

    Raises UsageError for a backend that cannot be tapped, BadArtifact where the file does not say
    which module a step came from.
    """
    name = artifact.manifest["backend"]
    check_backend(name)
    path = artifact.files[program.file].path
    made: Taps
    if name == "onnx":
        made = _OnnxTaps(onnx.whole_model(path), wrappers)
    elif name == "openvino":
        made = _OpenVinoPrefixes(onnx.whole_model(path), wrappers, artifact.manifest["precision"])
    elif name == "torchscript":
        made = _ScriptTaps(path, wrappers)
    elif name == "eager":
        made = GraphTaps(eager.graph(path, "cpu"), wrappers)
    elif name == "torch-compile":
        made = _JustInTimePrefixes(eager.graph(path, "cpu"), wrappers, program)
    else:
        sealed = open_graph(artifact)
        graph = eager.graph(sealed.path, "cpu")
        made = _InductorPrefixes(graph, wrappers, spec_of(artifact, program))
    if not made.ends:
        raise BadArtifact(
            f"{artifact.path / program.file} does not say which module its steps came from; "
            f"build it anew: {artifact.manifest['build']['command']} --force"
        )
    return made


def spec_of(artifact: Artifact, program: ProgramFile) -> CompileSpec:
    """The request that the artifact answers, for the batches of one program."""
    request = artifact.manifest["build"]["request"]
    try:
        known = {each.name: request[each.name] for each in fields(CompileSpec)}
    except KeyError as error:
        raise BadArtifact(
            f"{artifact.path} does not say {error} of its build; rebuild it here"
        ) from None
    return CompileSpec(**{**known, "shape": tuple(known["shape"]), "batch": program.batch})


def _ends(found: Steps) -> dict[Key, str]:
    return {end.key: end.output for end in found.ends}


class GraphTaps:
    """An exported graph, run operator by operator."""

    costly = False

    def __init__(self, module: nn.Module, wrappers: int) -> None:
        assert isinstance(module, fx.GraphModule)
        self.module = module
        self.steps = steps(module.graph, wrappers)
        self.ends, self.output = _ends(self.steps), self.steps.output

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
        self.extra_traceback = False  # what ends a run is no error
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


class _OnnxTaps:
    """A model with more outputs."""

    costly = False

    def __init__(self, model: bytes, wrappers: int) -> None:
        import onnx as package

        self.model = package.load_from_string(model)
        self.ends: dict[Key, str] = {}
        for node in self.model.graph.node:
            marked = {entry.key: entry.value for entry in node.metadata_props}.get(onnx.ENDS)
            if marked is not None:
                run, _, path = marked.partition(" ")
                if not run.isdecimal():
                    raise BadArtifact(f"the .onnx names a module's end '{marked}'; rebuild it")
                self.ends[unwrapped(path, wrappers), int(run)] = node.output[0]
        self.output = self.model.graph.output[0].name

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """The values, cast to float32 in the graph: numpy has no bfloat16."""
        model = copy.deepcopy(self.model)
        del model.graph.output[:]
        _give(model, outputs)
        run = onnx.session_of_all(model.SerializeToString())
        return lambda x: [torch.from_numpy(value) for value in run(x.numpy())]


class _OpenVinoPrefixes(_OnnxTaps):
    """The first part of a model, compiled by OpenVINO."""

    def __init__(self, model: bytes, wrappers: int, precision: str) -> None:
        super().__init__(model, wrappers)
        self.precision = precision

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """The values, one compilation each."""
        sessions = [self._session(name) for name in outputs]
        return lambda x: [torch.from_numpy(run(x.numpy())) for run in sessions]

    def _session(self, output: str) -> onnx.Session:
        model = copy.deepcopy(self.model)
        _keep_before(model.graph, output)
        _give(model, [output])
        return openvino.session(model.SerializeToString(), self.precision)


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


class _ScriptTaps:
    """A frozen TorchScript graph with more outputs."""

    costly = False

    def __init__(self, path: str, wrappers: int) -> None:
        self.graph, nodes = torchscript.named_graph(path)
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
        self.output = output.debugName()
        self.ends = _ends(Steps(operations, self._inputs[-1], self.output))

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


class _Prefixes(ABC):
    """The first part of an exported graph, compiled by itself."""

    costly = True

    def __init__(self, module: nn.Module, wrappers: int) -> None:
        assert isinstance(module, fx.GraphModule)
        self.module = module
        found = steps(module.graph, wrappers)
        self.ends, self.output = _ends(found), found.output

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """The values, one compilation each."""
        parts = [self.compile(_prefix(self.module, name)) for name in outputs]

        def run(x: torch.Tensor) -> list[torch.Tensor]:
            with torch.no_grad():
                return [part(x) for part in parts]

        return run

    @abstractmethod
    def compile(self, module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """Compile a part as the whole was."""


class _InductorPrefixes(_Prefixes):
    def __init__(self, module: nn.Module, wrappers: int, spec: CompileSpec) -> None:
        super().__init__(module, wrappers)
        self.spec = spec

    def compile(self, module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """By AOTInductor, with the options of the artifact."""
        program = ProgramFile(file=inductor.FILE, batch=self.spec.batch, entry=inductor.ENTRY)
        with TemporaryDirectory(prefix="zoo-") as folder:
            path = str(Path(folder) / inductor.FILE)
            inductor.package(module, self.spec, path)
            return inductor.load(path, program, "cpu")


class _JustInTimePrefixes(_Prefixes):
    def __init__(self, module: nn.Module, wrappers: int, program: ProgramFile) -> None:
        super().__init__(module, wrappers)
        self.dynamic = program.batch[0] != program.batch[1]

    def compile(self, module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """By torch.compile."""
        return torch.compile(module, dynamic=self.dynamic)


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
