"""Values from inside a .pt2 of AOTInductor, which shows none: parts of its graph compiled anew."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from compile.artifact.programs import Program, ProgramFile
from compile.artifact.reading import Artifact, open_graph
from compile.backends import eager, inductor
from compile.errors import BadArtifact
from compile.graphs.taps import Prefixes
from compile.spec import CompileSpec


def prefixes(artifact: Artifact, program: ProgramFile, wrappers: int) -> Prefixes:
    """The first parts of the exported graph that the artifact keeps, compiled with its options.

    Raises BadArtifact where it lacks the graph or the options.
    """
    graph = eager.graph(open_graph(artifact).path, "cpu")
    spec = _spec_of(artifact, program)
    return Prefixes(graph, wrappers, lambda part: _compile_part(part, spec))


def _compile_part(module: nn.Module, spec: CompileSpec) -> Program:
    with TemporaryDirectory(prefix="zoo-") as folder:
        path = str(Path(folder) / inductor.FILE)
        inductor.package(module, spec, path)
        program = ProgramFile(file=inductor.FILE, batch=spec.batch, entry=inductor.ENTRY)
        return inductor.load(path, program, "cpu")


def _spec_of(artifact: Artifact, program: ProgramFile) -> CompileSpec:
    """The request that the artifact answers, for the batches of one program."""
    request = artifact.manifest["build"]["request"]
    try:
        known = {each.name: request[each.name] for each in fields(CompileSpec)}
    except KeyError as error:
        raise BadArtifact(
            f"{artifact.path} does not say {error} of its build; rebuild it here"
        ) from None
    return CompileSpec(**{**known, "shape": tuple(known["shape"]), "batch": program.batch})
