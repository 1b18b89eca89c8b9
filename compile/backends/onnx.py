"""ONNX: the dynamo exporter, then onnxsim, one file without external data.

The simplifier's own verdict proves nothing, so its graph and the exporter's are run and compared.
onnxruntime runs the file where it is installed; onnx's reference evaluator does everywhere.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.advice import Missing, pip_install
from compile.artifact.programs import Program, ProgramFile
from compile.artifact.triton import Platform
from compile.backends import onnx_constants, onnx_session
from compile.backends.base import Built
from compile.backends.onnx_ends import mark_ends
from compile.errors import CheckFailed, ZooError, first_line, root_cause
from compile.graphs.names import exported, module_of
from compile.machine import versions
from compile.precision import of_constants
from compile.precision import precision as find_precision
from compile.returned import as_returned
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto
    from torch import nn
    from torch.export import ExportedProgram

    from compile.artifact.reading import Artifact
    from compile.graphs.taps import Taps

NAME = "onnx"
PRECISIONS = {"cpu": ("fp32", "fp16", "int8")}
QUANTIZER = "x86"
PACKAGES = ("onnx", "onnxsim", "onnxscript", "onnxruntime")
FILE = "model.onnx"
runs_in = onnx_session.runs_in
profile = onnx_session.events

_SIMPLIFIED_TOLERANCE = 1e-5
_OPSETS = {"bf16": 22}
"""Precisions that the exporter's own choice lacks, and the first opset that has them."""

_CHANGE_WEIGHTS = ["fuse_bn_into_conv", "fuse_mul_into_conv", "fuse_preceding_mul_into_conv"]
"""Passes of onnxsim that are left out: the weights in the file stay those that were proved."""


def missing(device: str, precision: str) -> str | None:
    """The exporter's packages are dependencies of zoo, but not of torch."""
    del device
    return absent(precision)


def absent(precision: str, *more: str) -> Missing | None:
    """The exporter's packages, the quantiser's, and `more`; all that is not installed at once."""
    needed = [*more, "onnx", "onnxscript", "onnxsim"]
    needed += ["torchao"] * find_precision(precision).quantised
    lacking = [name for name in needed if find_spec(name) is None]
    if not lacking:
        return None
    command = pip_install(*lacking)
    return Missing(f"needs {', '.join(lacking)}: {command}", command)


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Export, simplify, compare the two graphs, save one file."""
    as_written = partial(onnx_session.session, as_written=True)
    return write(module, spec, folder / FILE, as_written)


def write(
    module: nn.Module,
    spec: CompileSpec,
    path: Path,
    session: Callable[[bytes], onnx_session.Session],
    change: Callable[[ModelProto], ModelProto] = lambda model: model,
) -> Built:
    """What `build` does, for every backend that runs an .onnx.

    `session` loads one. `change` is for the exporter's graph, before anything else sees it.
    """
    try:
        return _write(module, spec, path, session, change)
    except (ZooError, MemoryError, OSError):
        raise
    except Exception as error:
        step = re.search(r"\bnode_(\w+)", str(error))  # so the exporter calls a step of the graph
        owner = _owner(step[1], module, spec) if step else ""
        if not owner:
            raise
        raise CheckFailed(
            f"the .onnx does not run at {step and step[1]}{owner}: {_reason(error)}; replace it "
            "there, compute it in float32, or compile with --backend torchscript"
        ) from error


def _reason(error: Exception) -> str:
    """What a runtime says, without its own name and number for it."""
    return re.sub(
        r"^\[\w+\]( : \d+ : \w+ : | )(This is an invalid model\. )?", "", first_line(error)
    )


def _write(
    module: nn.Module,
    spec: CompileSpec,
    path: Path,
    session: Callable[[bytes], onnx_session.Session],
    change: Callable[[ModelProto], ModelProto],
) -> Built:
    import onnx
    import onnxsim

    graph = change(export(module, spec))
    simplified, _ = onnxsim.simplify(graph, skipped_optimizers=_CHANGE_WEIGHTS)
    example = spec.example().numpy()
    before, after = (session(each.SerializeToString())(example) for each in (graph, simplified))
    difference = max(
        float(abs(one - other).max()) / max(1e-30, float(abs(one).max()))
        for one, other in zip(before, after, strict=True)
    )
    # At low precision other fusions round elsewhere; parity judges what comes of it.
    eps = find_precision(spec.precision).eps
    if not difference <= max(_SIMPLIFIED_TOLERANCE, eps):
        raise CheckFailed(f"onnxsim changed the output by {difference:.1e} of its largest value")
    mark_ends(graph, simplified)
    onnx.checker.check_model(simplified, full_check=True)
    onnx.save(simplified, str(path))
    program = ProgramFile(file=path.name, batch=spec.batch)
    return Built(
        programs=(program,),
        precision=of_constants(constants(str(path), program)),
        runs_on_torch=False,
        versions=versions("onnx", "onnxsim", "onnxscript"),
    )


def export(module: nn.Module, spec: CompileSpec, opset: int | None = None) -> Any:
    """The exporter's ModelProto, batch norms folded and constants shared by its own optimiser.

    Without `opset` it is the exporter's own choice, or the oldest that has the precision.
    """
    import torch

    module = module.cpu()
    try:
        if not _holds_graph(module):
            try:
                return _translated(module, spec, opset)
            except torch.onnx.errors.OnnxExporterError as error:
                if "scaled_dot_product_attention" not in f"{error}\n{error.__cause__}":
                    raise
        return _translated(_graph(module, spec), spec, opset)
    except torch.onnx.errors.OnnxExporterError as error:
        raise CheckFailed(_untranslated(error, module, spec)) from error


def _graph(module: nn.Module, spec: CompileSpec) -> ExportedProgram:
    """The module's graph, with operators that the exporter knows."""
    from compile.backends.onnx_decompositions import decomposed

    with _quiet():
        return decomposed(exported(module, replace(spec, device="cpu")))


def _translated(module: nn.Module | ExportedProgram, spec: CompileSpec, opset: int | None) -> Any:
    """The ModelProto of a module or of its graph."""
    import torch

    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (spec.example(),),
            dynamo=True,
            opset_version=opset or _OPSETS.get(spec.precision),
            input_names=["input"],
            output_names=list(spec.outputs),
            dynamic_shapes=spec.dynamic_shapes(),  # these also name the batch
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise CheckFailed("torch.onnx.export returned no program")
    return program.model_proto


def _holds_graph(module: nn.Module) -> bool:
    """Whether the exporter would lose the names of modules, which `exported` keeps. Everything else
    is left to the exporter: it has more than one way to trace a module.
    """
    from torch.fx import GraphModule

    return any(isinstance(each, GraphModule) for each in module.modules())


def _untranslated(error: Exception, module: nn.Module, spec: CompileSpec) -> str:
    """Which operator of which layer ONNX has no form for; else what broke inside the exporter."""
    cause = root_cause(error)
    said = f"{cause}\n{error}\n{error.__cause__}"
    match = re.search(r"op='(?:aten\.)?(\w+)'|call_function\[target=torch\.ops\.\w+\.(\w+)", said)
    if match is None:
        return f"the ONNX exporter gave up: {first_line(cause)}"
    operator = match[1] or match[2]
    fault = f"ONNX has no operator for {operator}{_owner(operator, module, spec)}"
    if "No ONNX function found" not in said:
        reason = first_line(cause).partition(". ")[0].rstrip(".")
        fault = (
            f"the ONNX exporter cannot write {operator}{_owner(operator, module, spec)}: {reason}"
        )
    return f"{fault}; replace it there, or compile with --backend inductor"


def _owner(operator: str, module: nn.Module, spec: CompileSpec) -> str:
    """The first layer that calls an operator, before or behind torch's own decompositions.

    `operator` may be the name of a step of the graph, too.
    """
    with _quiet():
        program = exported(module, replace(spec, device="cpu"))
        graphs = program.graph, program.run_decompositions().graph
    for nodes in (graph.nodes for graph in graphs):
        owners = [
            module_of(node)
            for node in nodes
            if f".{operator}." in str(node.target) or operator == node.name
        ]
        if owners:
            return f" of layer '{owners[0]}'" if owners[0] else ""
    return ""


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints progress and logs about packages that we do not use."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = logging.getLogger("torch.onnx")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def load(path: str, program: ProgramFile, device: str) -> Program:
    """Load with onnxruntime if it is installed, else with onnx's reference evaluator."""
    import torch

    del device
    run = onnx_session.session(onnx_session.whole_model(path), program.outputs)
    return lambda x: as_returned([torch.from_numpy(y) for y in run(x.numpy())])


def open_taps(artifact: Artifact, program: ProgramFile, wrappers: int) -> Taps:
    """Values from a graph with more outputs."""
    from compile.backends.onnx_taps import OnnxTaps

    return OnnxTaps(onnx_session.whole_model(artifact.files[program.file].path), wrappers)


def triton(precision: str) -> Platform:
    """By onnxruntime, at the precision that the file says."""
    del precision
    return Platform(
        backend="onnxruntime",
        platform="onnxruntime_onnx",
        reads=Path(FILE).suffix,
        file=FILE,
        graph_names=True,
    )


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """The graph's initializers, int8 or floating point."""
    del program
    return onnx_constants.read(path)
