"""An artifact folder -> a function, with the artifact verified and every input validated."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from compile.artifact.programs import Program, ProgramFile, check_input
from compile.artifact.reading import Artifact
from compile.artifact.status import open_to_run, require_proved
from compile.backends import backend_of
from compile.errors import BadArtifact, Unavailable, ZooError, first_line
from compile.precision import tensor_float
from compile.returned import Returned

Answer = torch.Tensor | dict[str, torch.Tensor]
"""What an artifact computes: a tensor for one output, tensors by their names for several."""


def load(
    path: str | Path, *, allow_nonfinite: bool = False, accept_error: bool = False
) -> Callable[[torch.Tensor], Answer]:
    """Verify an artifact and load it; the function returned refuses inputs that do not fit.

    It maps float32 (N, C, H, W) or uint8 (N, H, W, C) to a float32 tensor (N, ...), or to a dict of
    them where the artifact has several outputs.

    Args:
        path: the artifact's folder.
        allow_nonfinite: let inputs hold NaN and infinity.
        accept_error: load an artifact that failed its proof and was published all the same.

    Raises BadArtifact for one that is damaged, made for another machine, or not proved;
    Unavailable if this machine lacks something that can be installed.
    """
    artifact = open_to_run(Path(path), accept_error=accept_error)
    run = load_artifact(artifact, allow_nonfinite=allow_nonfinite, unproved=True)
    return answering(artifact, run)


def answering(artifact: Artifact, run: Program) -> Callable[[torch.Tensor], Answer]:
    """A program of an artifact, with the names of its outputs where it has several."""
    names = [output["name"] for output in artifact.manifest["outputs"]]

    def answer(x: torch.Tensor) -> Answer:
        returned = run(x)
        if isinstance(returned, torch.Tensor):
            return returned
        return dict(zip(names, returned, strict=True))

    return answer


def load_artifact(
    artifact: Artifact, *, allow_nonfinite: bool = False, unproved: bool = False
) -> Program:
    """Load the programs of an opened artifact behind one function that validates its input.

    `unproved` is for those who prove it, or look for its fault: they load it whatever its status.
    """
    loaded = load_programs(artifact, unproved=unproved)
    device = artifact.manifest["device"]

    def run(x: torch.Tensor) -> Returned:
        program = check_input(x, artifact.input, artifact.programs, allow_nonfinite=allow_nonfinite)
        with running(artifact, program):
            return loaded[program](x.to(device))

    return run


def load_programs(artifact: Artifact, *, unproved: bool = False) -> dict[ProgramFile, Program]:
    """Load the programs of an opened artifact as they are.

    They check nothing: call them inside `running`, with an input that `check_input` accepts, on the
    artifact's device. Raises BadArtifact if a file does not load, or the artifact is not proved
    and `unproved` does not allow that; Unavailable if this zoo does not have the backend, or
    the machine a library.
    """
    if not unproved:
        require_proved(artifact)
    backend = backend_of(artifact.manifest, artifact.path)
    if not backend.OWN_LIBRARIES:
        _load_libraries(artifact)
    loaded = {}
    for program in artifact.programs:
        path = artifact.files[program.file].path
        try:
            loaded[program] = backend.load(path, program, artifact.manifest["device"])
        except ZooError:
            raise
        except Exception as error:  # each loader has exceptions of its own
            reason = first_line(error)
            raise BadArtifact(f"{artifact.path / program.file} does not load: {reason}") from error
    return loaded


def _load_libraries(artifact: Artifact) -> None:
    """Load what the manifest wants loaded first, as zoo-run does: a program's operators, say."""
    for name in artifact.manifest["requirements"]["load_first"]:
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise Unavailable(
                f"{artifact.path} needs the library {name}: {error}; install it, or say where it "
                "is with LD_LIBRARY_PATH"
            ) from None


@contextmanager
def running(artifact: Artifact, program: ProgramFile) -> Iterator[None]:
    """Where a loaded program is called: no gradients, TF32 as the manifest says, and whatever it
    raises becomes BadArtifact, in one line.
    """
    try:
        with torch.no_grad(), tensor_float(artifact.manifest["parity"]["tf32"]):
            yield
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        interpreter = lines[0].startswith("The following operation")  # TorchScript's own
        reason = lines[-1] if interpreter else first_line(error)
        raise BadArtifact(f"{artifact.name}/{program.file} broke: {reason}") from error
