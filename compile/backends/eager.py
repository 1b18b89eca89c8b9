"""Eager PyTorch, as a file: the exported graph, run operator by operator.

It is what every other backend is measured against. No compiler touches it, and Python runs it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from compile.artifact.programs import Program, ProgramFile
from compile.backends import nvidia
from compile.backends.base import Built
from compile.backends.events import by_torch
from compile.errors import BadArtifact
from compile.graphs.names import exported
from compile.precision import of_constants
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

    from compile.artifact.reading import Artifact
    from compile.graphs.taps import Taps

NAME = "eager"
PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "tf32", "bf16", "fp16")}
profile = by_torch
FILE = "model.pt2"


def missing(device: str, precision: str) -> str | None:
    """torch alone is enough on a CPU."""
    del precision
    return nvidia.missing(device, ()) if device == "cuda" else None


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Save the exported program."""
    import torch

    torch.export.save(exported(module, spec), folder / FILE)
    program = ProgramFile(file=FILE, batch=spec.batch)
    return Built(
        programs=(program,), precision=of_constants(constants(str(folder / FILE), program))
    )


def load(path: str, program: ProgramFile, device: str) -> Program:
    """The exported program as a module."""
    del program
    return graph(path, device)


def graph(path: str, device: str) -> nn.Module:
    """Read the saved program and return it as a graph module on `device`."""
    from torch.export.passes import move_to_device_pass

    program = _read(path)
    if device != "cpu":
        program = move_to_device_pass(program, device)
    return program.module()


def open_taps(artifact: Artifact, program: ProgramFile, wrappers: int) -> Taps:
    """Values from the graph, run operator by operator."""
    from compile.graphs.taps import GraphTaps

    return GraphTaps(graph(artifact.files[program.file].path, "cpu"), wrappers)


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """The parameters and buffers of the saved program."""
    del program
    yield from (value.detach().cpu() for value in _read(path).state_dict.values())


def _read(path: str) -> ExportedProgram:
    """Read a saved program; BadArtifact if it holds pickles of more than tensors."""
    import torch

    try:
        with open(path, "rb") as stream, _tensors_only(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given buffer is not writable")  # 2.11's
            return torch.export.load(stream)
    except Exception as error:
        if "Weights only load failed" not in str(error):
            raise
        raise BadArtifact(
            "the exported program holds pickled objects, which run code when they are read: only "
            "tensors are allowed; rebuild it with `zoo compile --force`"
        ) from None


@contextmanager
def _tensors_only() -> Iterator[None]:
    """torch.export.load reads tensors alone at first, and any pickle where that fails."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
