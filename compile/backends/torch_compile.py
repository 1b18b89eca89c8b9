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
    from torch import nn

    from compile.artifact.reading import Artifact
    from compile.graphs.taps import Taps
    from compile.returned import Returned

NAME = "torch-compile"
PRECISIONS = eager.PRECISIONS

build = eager.build
constants = eager.constants
profile = eager.profile


def missing(device: str, precision: str) -> str | None:
    """The first call compiles C++."""
    return eager.missing(device, precision) or no_compiler()


def load(path: str, program: ProgramFile, device: str) -> Program:
    """The exported program under torch.compile, for any batch where it has a range."""
    return _compiled(eager.graph(path, device), program)


def _compiled(module: nn.Module, program: ProgramFile) -> Program:
    import torch

    low, high = program.batch
    compiled = torch.compile(module, dynamic=low != high)

    def run(x: torch.Tensor) -> Returned:
        returned: Returned = compiled(x)
        return returned

    return run


def open_taps(artifact: Artifact, program: ProgramFile, wrappers: int) -> Taps:
    """Values at the end of the graph's first part, under torch.compile by itself."""
    from compile.graphs.taps import Prefixes

    graph = eager.graph(artifact.files[program.file].path, "cpu")
    return Prefixes(graph, wrappers, lambda part: _compiled(part, program))
