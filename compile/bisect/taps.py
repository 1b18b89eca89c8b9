"""Open an artifact's program for bisect, which reads values from inside it."""

from __future__ import annotations

from compile.artifact.programs import ProgramFile
from compile.artifact.reading import Artifact
from compile.backends import BACKENDS, backend, backend_of
from compile.errors import BadArtifact, UsageError
from compile.graphs.taps import Taps


def check_backend(name: str) -> None:
    """Raise UsageError for a backend whose programs give no values from inside."""
    chosen = backend(name)
    if chosen.open_taps is None:
        known = [each for each in BACKENDS if backend(each).open_taps is not None]
        raise UsageError(f"{name} {chosen.UNTAPPED}; bisect an artifact of {', '.join(known)}")


def open_taps(artifact: Artifact, program: ProgramFile, wrappers: int) -> Taps:
    """Open a program for tapping; `wrappers` are the modules around the network in its graph.

    Raises UsageError for a backend that cannot be tapped, BadArtifact if the file does not say
    which module a step came from, Unavailable for a backend that this zoo does not have.
    """
    chosen = backend_of(artifact.manifest, artifact.path)
    check_backend(chosen.NAME)
    assert chosen.open_taps is not None
    taps = chosen.open_taps(artifact, program, wrappers)
    if not taps.ends:
        raise BadArtifact(
            f"{artifact.path / program.file} does not say which module its steps came from; "
            f"build it anew: {artifact.manifest['build']['command']} --force"
        )
    return taps
