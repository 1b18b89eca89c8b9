"""ONNX: the dynamo exporter, then onnxsim, one file without external data.

The simplifier's own verdict is no proof, so its graph and the exporter's are run and compared here.
onnxruntime runs the file where it is installed; onnx's reference evaluator does everywhere.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.backends.base import Built, Program, ProgramFile
from compile.errors import BadArtifact, CheckFailed
from compile.machine import versions
from compile.precision import of_constants
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import numpy
    import torch
    from torch import nn

NAME = "onnx"
PRECISIONS = {"cpu": ("fp32",)}
MACHINE_CODE = False
FILE = "model.onnx"

_SIMPLIFIED_TOLERANCE = 1e-5


def missing(device: str) -> str | None:
    """The exporter's packages are dependencies of zoo, but not of torch."""
    del device
    lacking = [name for name in ("onnx", "onnxscript", "onnxsim") if find_spec(name) is None]
    return f"needs {', '.join(lacking)}: pip install {' '.join(lacking)}" if lacking else None


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Export, simplify, compare the two graphs, save one file."""
    import onnx
    import onnxsim

    exported = export(module, spec)
    simplified, _ = onnxsim.simplify(exported)
    example = spec.example().numpy()
    before, after = _run(exported, example), _run(simplified, example)
    difference = float(abs(before - after).max()) / max(1e-30, float(abs(before).max()))
    if not difference <= _SIMPLIFIED_TOLERANCE:
        raise CheckFailed(f"onnxsim changed the output by {difference:.1e} of its largest value")
    onnx.checker.check_model(simplified, full_check=True)
    onnx.save(simplified, str(folder / FILE))
    program = ProgramFile(file=FILE, batch=spec.batch)
    return Built(
        programs=(program,),
        precision=of_constants(constants(str(folder / FILE), program)),
        runs_on_torch=False,
        versions=versions("onnx", "onnxsim", "onnxscript"),
    )


def export(module: nn.Module, spec: CompileSpec, opset: int | None = None) -> Any:
    """The exporter's ModelProto, batch norms folded and constants shared by its own optimiser.

    `opset` is the exporter's own choice where it is None.
    """
    import torch

    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.cpu(),
            (spec.example(),),
            dynamo=True,
            input_names=["input"],
            output_names=["logits"],
            dynamic_shapes=spec.dynamic_shapes(),
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise CheckFailed("torch.onnx.export returned no program")
    return program.model_proto


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
    """Load with onnxruntime where it is installed, else with onnx's reference evaluator."""
    import onnx
    import torch

    del program, device
    model = Path(path).read_bytes()
    if any(tensor.external_data for tensor in onnx.load_from_string(model).graph.initializer):
        raise BadArtifact("the .onnx keeps weights in other files; one file only is allowed")
    run = _session(model)
    return lambda x: torch.from_numpy(run(x.numpy()))


def executor() -> str:
    """What `load` runs a file with here: `onnxruntime` or `onnx.reference`."""
    return "onnxruntime" if find_spec("onnxruntime") else "onnx.reference"


def _session(model: bytes) -> Any:
    """A function from a numpy input to the numpy output."""
    if executor() == "onnx.reference":
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return lambda x: evaluator.run(None, {"input": x})[0]  # type: ignore[index]
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"input": x})[0]


def _run(model: Any, x: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    out: numpy.ndarray[Any, Any] = _session(model.SerializeToString())(x)
    return out


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """The floating point initializers of the graph."""
    import onnx
    import torch

    del program
    for tensor in onnx.load(path).graph.initializer:
        value = torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        if value.is_floating_point():
            yield value
