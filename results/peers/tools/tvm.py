"""TVM: its importer reads the .onnx, LLVM compiles it for this CPU.

The schedules are TVM's own defaults. Tuning them takes hours for one network; it was not done.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

from results.peers.tools.task import Call, Task, flow

VERSION = tvm.__version__


class Opened:
    """A virtual machine for each stream."""

    def __init__(self, task: Task) -> None:
        """Compile, unless the library is there already."""
        library = tvm.runtime.load_module(str(compiled(task.model)))
        self._machines = [relax.VirtualMachine(library, tvm.cpu()) for _ in range(task.streams)]
        threads = os.environ.get("TVM_NUM_THREADS", "")
        self.settings = {"streams": task.streams, "threads": threads, "tuned": "no"}

    def calls(self, x: np.ndarray[Any, Any]) -> list[Call]:
        """A call for each stream."""
        return [_call(machine, x) for machine in self._machines]

    def flow(self, x: np.ndarray[Any, Any], seconds: float) -> tuple[int, int]:
        """Keep all streams busy for so long; return how many calls ended, and nanoseconds."""
        return flow(self.calls(x), seconds)


def compiled(model: Path) -> Path:
    """The library beside the .onnx."""
    file = model.with_suffix(".so")
    if file.exists():
        return file
    module = from_onnx(onnx.load(str(model)))
    cpu = tvm.target.codegen.llvm_get_system_cpu()
    target = tvm.target.Target({"kind": "llvm", "mcpu": cpu, "opt-level": 3})
    staged = model.with_suffix(f".{os.getpid()}.so")
    tvm.compile(module, target).export_library(str(staged))
    staged.rename(file)
    return file


def _call(machine: Any, x: np.ndarray[Any, Any]) -> Call:
    given, run = tvm.runtime.tensor(x), machine["main"]

    def call() -> Any:
        output = run(given)
        return (output if hasattr(output, "numpy") else output[0]).numpy()

    return call
