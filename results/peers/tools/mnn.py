"""MNN from Python: its converter reads the .onnx, its CPU backend runs it.

The converter is called inside the extension module. MNN's own script around it must not be: it
installs a package into whatever Python is first on PATH, and reports to a server.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import MNN
import numpy as np
from MNN import expr, nn

from results.peers.tools.task import Call, CannotRun, Task, flow

VERSION = MNN.version()


class Opened:
    """A module for each stream, as one must not be called twice at once."""

    def __init__(self, task: Task) -> None:
        """Raises CannotRun for what the converter does not take."""
        file = converted(task.model)
        threads = max(1, task.threads // task.streams)
        told = {"backend": "CPU", "numThread": threads, "precision": "high"}
        self._modules = [_module(file, told) for _ in range(task.streams)]
        self.settings = {"streams": task.streams, "threads": threads, "precision": "high"}

    def calls(self, x: np.ndarray[Any, Any]) -> list[Call]:
        """A call for each stream, with an input of its own."""
        return [_call(module, x) for module in self._modules]

    def flow(self, x: np.ndarray[Any, Any], seconds: float) -> tuple[int, int]:
        """Keep all streams busy for so long; return how many calls ended, and nanoseconds."""
        return flow(self.calls(x), seconds)


def converted(model: Path) -> Path:
    """The .mnn beside the .onnx; converted if it is not there yet."""
    file = model.with_suffix(".mnn")
    if file.exists():
        return file
    staged = model.with_suffix(f".{os.getpid()}")
    command = ["mnnconvert", "-f", "ONNX", "--modelFile", str(model)]
    command += ["--MNNModel", str(staged), "--bizCode", "zoo"]
    import_module("_tools").mnnconvert(command)
    if not staged.exists():
        raise CannotRun("MNN's converter does not take this .onnx")
    staged.rename(file)
    return file


def _module(file: Path, told: dict[str, Any]) -> Any:
    runtime = nn.create_runtime_manager((told,))
    return nn.load_module_from_file(str(file), [], [], runtime_manager=runtime)  # all of them


def _call(module: Any, x: np.ndarray[Any, Any]) -> Call:
    given = expr.placeholder(list(x.shape), expr.NCHW)
    given.write(x)

    def call() -> Any:
        (output,) = module.forward([given])
        return np.array(output.read())

    return call
