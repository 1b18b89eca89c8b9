"""An artifact folder -> a function, with the artifact verified and every input validated."""

from __future__ import annotations

from pathlib import Path

import torch

from compile.artifact.programs import Program, check_input
from compile.artifact.reading import Artifact, open_artifact
from compile.artifact.status import require_proved
from compile.backends import BACKENDS, backend
from compile.errors import BadArtifact, Unavailable, ZooError, first_line
from compile.precision import tensor_float


def load(path: str | Path, *, allow_nonfinite: bool = False, accept_error: bool = False) -> Program:
    """Verify an artifact and load it; the program returned refuses inputs that do not fit.

    Args:
        path: the artifact's folder.
        allow_nonfinite: let inputs hold NaN and infinity.
        accept_error: load an artifact that failed its proof and was published all the same.

    Raises BadArtifact for one that is damaged, made for another machine, or not proved;
    Unavailable where this machine lacks something that can be installed.
    """
    artifact = open_artifact(Path(path))
    require_proved(artifact, accept_error=accept_error)
    return load_artifact(artifact, allow_nonfinite=allow_nonfinite, unproved=True)


def load_artifact(
    artifact: Artifact, *, allow_nonfinite: bool = False, unproved: bool = False
) -> Program:
    """Load the programs of an opened artifact behind one function that validates its input.

    `unproved` is for those who prove it, or look for its fault: they load it whatever its status.
    """
    if not unproved:
        require_proved(artifact)
    loaded = {}
    name = artifact.manifest["backend"]
    if name not in BACKENDS:
        known = ", ".join(BACKENDS)
        raise Unavailable(f"{artifact.path} needs the backend {name!r}; here are: {known}")
    maker = backend(name)
    device = artifact.manifest["device"]
    tf32 = artifact.manifest["parity"]["tf32"]
    for program in artifact.programs:
        try:
            loaded[program] = maker.load(artifact.files[program.file].path, program, device)
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
