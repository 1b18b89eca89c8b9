"""torch.compile, in process: the exported graph, compiled just in time where it is loaded.

The file is the eager backend's. It is here to be compared with: what a user of
`torch.compile(model)` gets. The first call compiles, anew in every process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compile.artifact.programs import Program, ProgramFile
from compile.backends import eager
from compile.backends.inductor import no_compiler

if TYPE_CHECKING:
    import torch

NAME = "torch-compile"
PRECISIONS = eager.PRECISIONS
QUANTIZER = ""
MACHINE_CODE = False

build = eager.build
constants = eager.constants


def missing(device: str, precision: str) -> str | None:
    """The first call compiles C++."""
    return eager.missing(device, precision) or no_compiler()


def load(path: str, program: ProgramFile, device: str) -> Program:
    """The exported program under torch.compile, for any batch where it has a range."""
    import torch

    low, high = program.batch
    compiled = torch.compile(eager.graph(path, device), dynamic=low != high)

    def run(x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = compiled(x)
        return out

    return run
