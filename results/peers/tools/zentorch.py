"""AMD's zentorch: torch.compile of the exported graph with its backend, and weights frozen."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TORCHINDUCTOR_FREEZING", "1")  # torch reads it when it is imported

import numpy as np
import torch
import zentorch

from results.peers.tools.task import Call, Task, flow

VERSION = zentorch.__version__


class Opened:
    """A compiled module, which all streams share."""

    def __init__(self, task: Task) -> None:
        """It is compiled when it is first called."""
        threads = max(1, task.threads // task.streams)
        torch.set_num_threads(threads)
        module = torch.export.load(str(task.model)).module()
        self._run = torch.compile(module, backend="zentorch")
        self._streams = task.streams
        self.settings = {"streams": task.streams, "threads": threads, "frozen": "yes"}

    def calls(self, x: np.ndarray[Any, Any]) -> list[Call]:
        """A call for each stream."""
        given = torch.from_numpy(x)

        def call() -> Any:
            with torch.no_grad():
                return self._run(given).numpy()

        return [call] * self._streams

    def flow(self, x: np.ndarray[Any, Any], seconds: float) -> tuple[int, int]:
        """Keep all streams busy for so long; return how many calls ended, and nanoseconds."""
        return flow(self.calls(x), seconds)
