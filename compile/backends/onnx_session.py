"""Run an .onnx: with onnxruntime if it is installed, else with onnx's reference evaluator."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compile.artifact.programs import Program, ProgramFile
from compile.backends.events import WARMUP_CALLS, Event
from compile.errors import BadArtifact, Unavailable

if TYPE_CHECKING:
    import numpy
    import torch

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

    options = _options()
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = in_order(outputs, [output.name for output in session.get_outputs()])
    return lambda x: list(session.run(names, {"input": x}))


def _options() -> Any:
    """How onnxruntime loads a graph."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.load_model_format", "ONNX")  # no format of its own
    return options


def events(
    run: Program, path: str, program: ProgramFile, x: torch.Tensor, calls: int
) -> list[Event]:
    """What onnxruntime's own profiler sees; see Backend.profile. Without it, Unavailable."""
    del run, program
    if runs_in() != "onnxruntime":
        raise Unavailable("profiling an .onnx needs onnxruntime: pip install onnxruntime")
    import onnxruntime

    with TemporaryDirectory(prefix="zoo-") as folder:
        options = _options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(whole_model(path), options, providers=providers)
        for _ in range(WARMUP_CALLS + calls):
            session.run(None, {"input": x.numpy()})
        said = json.loads(Path(session.end_profiling()).read_text())
    runs = sorted(each["ts"] for each in said if each.get("name") == "model_run")
    return [
        Event(
            operator=each["args"]["op_name"],
            name=each["name"].removesuffix("_kernel_time"),
            start_us=each["ts"],
            duration_us=each["dur"],
            own_us=each["dur"],
            lane=each["tid"],
        )
        for each in said
        if each.get("cat") == "Node"
        and each["name"].endswith("_kernel_time")
        and each["ts"] >= runs[WARMUP_CALLS]
    ]


def in_order(wanted: Sequence[str] | None, held: Sequence[str]) -> list[str]:
    """The names of a graph's outputs in the wanted order, or in its own if none is wanted."""
    if wanted is not None and sorted(wanted) != sorted(held):
        raise BadArtifact(
            f"the .onnx has the outputs {', '.join(held)}; the manifest names {', '.join(wanted)}"
        )
    return list(held if wanted is None else wanted)
