"""A tool that is made up, for the tests: as slow, as wrong and as broken as its model says."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import numpy as np

from results.peers.tools.task import Call, CannotRun, Task, flow

VERSION = "0"


class Opened:
    """The sum of each sample: a network that NumPy computes."""

    def __init__(self, task: Task) -> None:
        """The model is JSON: `seconds` of a call, `factor` of the answer, `refuses`: a reason,
        `dies`: the call in which the process ends.
        """
        self._asked = json.loads(task.model.read_text())
        self._count = 0
        if self._asked.get("refuses"):
            raise CannotRun(self._asked["refuses"])
        self._streams = task.streams
        self.settings = {"threads": task.threads}

    def calls(self, x: np.ndarray[Any, Any]) -> list[Call]:
        """A call for each stream."""

        def call() -> Any:
            self._count += 1
            if self._count == self._asked.get("dies"):
                os._exit(3)
            time.sleep(self._asked.get("seconds", 0))
            total = x.reshape(len(x), -1).sum(1, keepdims=True)
            return total * np.float32(self._asked.get("factor", 1))

        return [call] * self._streams

    def flow(self, x: np.ndarray[Any, Any], seconds: float) -> tuple[int, int]:
        """Keep all streams busy for so long."""
        return flow(self.calls(x), seconds)
