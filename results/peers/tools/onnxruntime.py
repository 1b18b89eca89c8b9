"""ONNX Runtime from Python: the highest level of its graph optimiser, and its own threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from results.peers.tools.task import Call, CannotRun, Task, flow

VERSION = onnxruntime.__version__


class Opened:
    """A session."""

    def __init__(self, task: Task) -> None:
        """Raises CannotRun for a precision that it has no kernels for on a CPU."""
        if task.precision not in ("fp32", "int8"):
            raise CannotRun(f"ONNX Runtime's CPU kernels do not compute in {task.precision}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = max(1, task.threads // task.streams)
        options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(str(task.model), options, providers)
        self._streams = task.streams
        self.settings = {
            "graph": "ORT_ENABLE_ALL",
            "streams": task.streams,
            "threads": options.intra_op_num_threads,
        }

    def calls(self, x: np.ndarray[Any, Any]) -> list[Call]:
        """A call for each stream; all use the one session."""
        return [self._call(x) for _ in range(self._streams)]

    def _call(self, x: np.ndarray[Any, Any]) -> Call:
        binding = self._session.io_binding()
        value = onnxruntime.OrtValue.ortvalue_from_numpy(x)
        binding.bind_ortvalue_input(self._session.get_inputs()[0].name, value)
        binding.bind_output(self._session.get_outputs()[0].name)

        def call() -> Any:
            self._session.run_with_iobinding(binding)
            return binding.get_outputs()[0].numpy()

        return call

    def flow(self, x: np.ndarray[Any, Any], seconds: float) -> tuple[int, int]:
        """Keep all streams busy for so long; return how many calls ended, and nanoseconds."""
        return flow(self.calls(x), seconds)
