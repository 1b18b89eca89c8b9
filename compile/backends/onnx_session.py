"""Run an .onnx: with onnxruntime if it is installed, else with onnx's reference evaluator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.errors import BadArtifact

if TYPE_CHECKING:
    import numpy

ENDS = "zoo.ends"
"""Entry of a node's metadata: which run, from 1 on, of which module ends here."""

Session = Callable[["numpy.ndarray[Any, Any]"], "list[numpy.ndarray[Any, Any]]"]
"""A loaded graph: a numpy input in, all of its numpy outputs out."""


def whole_model(path: str) -> bytes:
    """The file's bytes; BadArtifact if weights lie in other files, which nobody verified."""
    import onnx

    model = Path(path).read_bytes()
    if any(tensor.external_data for tensor in onnx.load_from_string(model).graph.initializer):
        raise BadArtifact("the .onnx keeps weights in other files; one file only is allowed")
    return model


def runs_in() -> str:
    """`onnxruntime` if it is installed, else `onnx.reference`."""
    return "onnxruntime" if find_spec("onnxruntime") else "onnx.reference"


def session(
    model: bytes, outputs: Sequence[str] | None = None, *, as_written: bool = False
) -> Session:
    """Load a graph. Raises BadArtifact if its outputs are not called `outputs`, in any order.

    `as_written`: onnxruntime fuses no operators.
    """
    if runs_in() == "onnx.reference":
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(model)
        names = in_order(outputs, evaluator.output_names)
        return lambda x: list(evaluator.run(names, {"input": x}))
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.load_model_format", "ONNX")  # no format of its own
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = in_order(outputs, [output.name for output in session.get_outputs()])
    return lambda x: list(session.run(names, {"input": x}))


def in_order(wanted: Sequence[str] | None, held: Sequence[str]) -> list[str]:
    """The names of a graph's outputs in the wanted order, or in its own if none is wanted."""
    if wanted is not None and sorted(wanted) != sorted(held):
        raise BadArtifact(
            f"the .onnx has the outputs {', '.join(held)}; the manifest names {', '.join(wanted)}"
        )
    return list(held if wanted is None else wanted)
