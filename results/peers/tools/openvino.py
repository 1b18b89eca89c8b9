"""OpenVINO with the settings of its benchmark: a hint, and the requests that the hint asks for."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import openvino

from results.peers.tools.task import Call, CannotRun, Task

VERSION = openvino.__version__
_TYPES = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What it is told to compute in; of int8, the layers that are not quantised."""


class Opened:
    """A compiled model."""

    def __init__(self, task: Task) -> None:
        """Raises CannotRun if the CPU plugin would compute in another precision."""
        latency = task.streams == 1
        wanted = _TYPES[task.precision]
        settings = {
            "PERFORMANCE_HINT": "LATENCY" if latency else "THROUGHPUT",
            "INFERENCE_NUM_THREADS": task.threads,
            "INFERENCE_PRECISION_HINT": wanted,
        }
        self._core = openvino.Core()
        self._model = self._core.compile_model(str(task.model), "CPU", settings)
        taken = self._model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if taken != wanted:
            raise CannotRun(f"it computes in {taken} on this CPU")
        optimal = self._model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self.requests = 1 if latency else int(optimal)
        self.settings = {
            "hint": settings["PERFORMANCE_HINT"],
            "requests": self.requests,
            "streams": int(self._model.get_property("NUM_STREAMS")),
            "threads": int(self._model.get_property("INFERENCE_NUM_THREADS")),
        }

    def calls(self, x: np.ndarray[Any, Any]) -> list[Call]:
        """One call, which starts a request and waits for it."""
        return [self._call(x)]

    def _call(self, x: np.ndarray[Any, Any]) -> Call:
        request = self._model.create_infer_request()
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        output = request.get_output_tensor(0)

        def call() -> Any:
            request.start_async()
            request.wait()
            return output.data

        return call

    def flow(self, x: np.ndarray[Any, Any], seconds: float) -> tuple[int, int]:
        """Keep all requests busy for so long; return how many ended, and nanoseconds."""
        queue = openvino.AsyncInferQueue(self._model, self.requests)
        for request in queue:
            request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        queue.start_async()
        queue.wait_all()
        count, start = 0, time.perf_counter_ns()
        while time.perf_counter_ns() - start < seconds * 1e9:
            queue.start_async()
            count += 1
        queue.wait_all()
        return count, time.perf_counter_ns() - start
