"""MNN from Python: its converter reads the .onnx, its CPU backend runs it.

The converter is called inside the extension module. MNN's own script around it must not be: it
installs a package into whatever Python is first on PATH, and reports to a server.

A call from Python holds the interpreter's lock, so streams are processes.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import MNN
import numpy as np
from MNN import expr, nn

from results.peers.tools.task import Call, CannotRun, Task, flow

VERSION = MNN.version()


class Opened:
    """A module, and with streams a process for each of them."""

    def __init__(self, task: Task) -> None:
        """Raises CannotRun for what the converter does not take."""
        self._file = converted(task.model)
        self._streams = task.streams
        self._threads = max(1, task.threads // task.streams)
        self._connections: list[Connection] = []
        self.settings = {
            "streams": task.streams,
            "threads": self._threads,
            "precision": "high",
        }

    def calls(self, x: np.ndarray[Any, Any]) -> list[Call]:
        """One call."""
        return [_call(self._file, self._threads, x)]

    def flow(self, x: np.ndarray[Any, Any], seconds: float) -> tuple[int, int]:
        """Keep all streams busy for so long; return how many calls ended, and nanoseconds."""
        while len(self._connections) < self._streams:
            self._connections.append(_started(self._file, self._threads, x))
        start = time.perf_counter_ns()
        for connection in self._connections:
            connection.send_bytes(str(seconds).encode())
        count = sum(int(connection.recv_bytes()) for connection in self._connections)
        return count, time.perf_counter_ns() - start


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


def _call(file: Path, threads: int, x: np.ndarray[Any, Any]) -> Call:
    told = {"backend": "CPU", "numThread": threads, "precision": "high"}
    runtime = nn.create_runtime_manager((told,))
    module = nn.load_module_from_file(str(file), [], [], runtime_manager=runtime)  # all of them
    given = expr.placeholder(list(x.shape), expr.NCHW)
    given.write(x)

    def call() -> Any:
        (output,) = module.forward([given])
        return np.array(output.read())

    return call


def _started(file: Path, threads: int, x: np.ndarray[Any, Any]) -> Connection:
    """A process that is ready: it calls for as many seconds as it is sent."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    given = str(file), threads, x, theirs
    context.Process(target=_stream, args=given, daemon=True).start()
    theirs.close()
    ours.recv_bytes()
    return ours


def _stream(file: str, threads: int, x: np.ndarray[Any, Any], connection: Connection) -> None:
    """The life of a stream; it ends with the process that it belongs to."""
    call = _call(Path(file), threads, x)
    call()
    connection.send_bytes(b"")
    try:
        while True:
            count, _ = flow([call], float(connection.recv_bytes()))
            connection.send_bytes(str(count).encode())
    except (EOFError, ConnectionError):
        return
