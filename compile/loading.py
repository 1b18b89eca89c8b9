"""An artifact folder -> a function, with the artifact verified and every input validated."""

from __future__ import annotations

from pathlib import Path

import torch

from compile.artifact import Artifact, open_artifact
from compile.backends import backend
from compile.backends.base import Program
from compile.validate import check_input


def load(path: str | Path, *, allow_nonfinite: bool = False) -> Program:
    """Verify an artifact and load it; the program returned refuses inputs that do not fit."""
    return load_artifact(open_artifact(Path(path)), allow_nonfinite=allow_nonfinite)


def load_artifact(artifact: Artifact, *, allow_nonfinite: bool = False) -> Program:
    """Load the programs of an opened artifact behind one function that validates its input."""
    loaded = {}
    maker = backend(artifact.manifest["backend"])
    device = artifact.manifest["device"]
    for program in artifact.programs:
        loaded[program] = maker.load(artifact.files[program.file].path, program, device)

    def run(x: torch.Tensor) -> torch.Tensor:
        program = check_input(x, artifact.shape, artifact.programs, allow_nonfinite=allow_nonfinite)
        with torch.no_grad():
            return loaded[program](x.to(device))

    return run
