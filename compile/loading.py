"""An artifact folder -> a function, with the artifact verified and every input validated."""

from __future__ import annotations

from pathlib import Path

import torch

from compile.artifact.programs import Program, check_input
from compile.artifact.reading import Artifact, open_artifact
from compile.backends import backend_of
from compile.errors import BadArtifact, ZooError, first_line
from compile.precision import tensor_float


def load(path: str | Path, *, allow_nonfinite: bool = False) -> Program:
    """Verify an artifact and load it; the program returned refuses inputs that do not fit."""
    return load_artifact(open_artifact(Path(path)), allow_nonfinite=allow_nonfinite)


def load_artifact(artifact: Artifact, *, allow_nonfinite: bool = False) -> Program:
    """Load the programs of an opened artifact behind one function that validates its input."""
    loaded = {}
    backend = backend_of(artifact.manifest, artifact.path)
    device = artifact.manifest["device"]
    tf32 = artifact.manifest["parity"]["tf32"]
    for program in artifact.programs:
        try:
            loaded[program] = backend.load(artifact.files[program.file].path, program, device)
        except ZooError:
            raise
        except Exception as error:  # each loader has exceptions of its own
            reason = first_line(error)
            raise BadArtifact(f"{artifact.path / program.file} does not load: {reason}") from error

    def run(x: torch.Tensor) -> torch.Tensor:
        program = check_input(x, artifact.input, artifact.programs, allow_nonfinite=allow_nonfinite)
        try:
            with torch.no_grad(), tensor_float(tf32):
                return loaded[program](x.to(device))
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            interpreter = lines[0].startswith("The following operation")  # TorchScript's own
            reason = lines[-1] if interpreter else first_line(error)
            raise BadArtifact(f"{artifact.name}/{program.file} broke: {reason}") from error

    return run
