"""Eager PyTorch, as a file: the exported graph, run operator by operator.

It is what every other backend is measured against. No compiler touches it, and Python runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from compile.backends import nvidia
from compile.backends.base import Built, Program, ProgramFile, exported
from compile.precision import of_constants
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

NAME = "eager"
PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "tf32", "bf16", "fp16")}
QUANTIZER = ""
MACHINE_CODE = False
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
    import torch
    from torch.export.passes import move_to_device_pass

    with open(path, "rb") as stream:
        program = torch.export.load(stream)
    if device != "cpu":
        program = move_to_device_pass(program, device)
    return program.module()


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """The parameters and buffers of the saved program."""
    import torch

    del program
    with open(path, "rb") as stream:
        saved = torch.export.load(stream)
    yield from (value.detach().cpu() for value in saved.state_dict.values())
