"""Run an .onnx: with onnxruntime where it is installed, else with onnx's reference evaluator."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.errors import BadArtifact

if TYPE_CHECKING:
    import numpy

ENDS = "zoo.ends"
"""Entry of a node's metadata: which run, from 1 on, of which module ends here."""

Session = Callable[["numpy.ndarray[Any, Any]"], "numpy.ndarray[Any, Any]"]
"""A loaded graph: a numpy input in, its numpy output out."""


def whole_model(path: str) -> bytes:
    """The file's bytes; BadArtifact where weights lie in other files, which nobody verified."""
    import onnx

    model = Path(path).read_bytes()
    if any(tensor.external_data for tensor in onnx.load_from_string(model).graph.initializer):
        raise BadArtifact("the .onnx keeps weights in other files; one file only is allowed")
    return model


def runs_in() -> str:
    """`onnxruntime` where it is installed, else `onnx.reference`."""
    return "onnxruntime" if find_spec("onnxruntime") else "onnx.reference"


def session(model: bytes) -> Session:
    """Load a graph of one output."""
    run = session_of_all(model)
    return lambda x: run(x)[0]


def session_of_all(model: bytes) -> Callable[[numpy.ndarray[Any, Any]], list[Any]]:
    """Load a graph: a numpy input in, all of its outputs out."""
    if runs_in() == "onnx.reference":
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        return lambda x: list(evaluator.run(None, {"input": x}))
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: list(session.run(None, {"input": x}))
