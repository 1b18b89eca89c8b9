"""Values from inside a .pt2 of AOTInductor, which shows none: parts of its graph compiled anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from torch import nn

from compile.artifact.programs import Program, ProgramFile
from compile.artifact.reading import Artifact, open_graph
from compile.backends import eager
from compile.errors import BadArtifact
from compile.graphs.taps import Prefixes
from compile.spec import CompileSpec


def prefixes(
    artifact: Artifact,
    program: ProgramFile,
    wrappers: int,
    build: Callable[[nn.Module, CompileSpec], Program],
) -> Prefixes:
    """The first parts of the exported graph that the artifact keeps, compiled with its options.

    `build` compiles a part. Raises BadArtifact if the artifact lacks the graph or the options.
    """
    sealed = open_graph(artifact)  # the path is gone once nobody holds it
    graph = eager.graph(sealed.path, "cpu")
    spec = _spec_of(artifact, program)
    return Prefixes(graph, wrappers, lambda part: build(part, spec))


def _spec_of(artifact: Artifact, program: ProgramFile) -> CompileSpec:
    """The request that the artifact answers, for the batches of one program."""
    request = artifact.manifest["build"]["request"]
    try:
        names = [each.name for each in fields(CompileSpec) if each.name not in ("outputs", "gpus")]
        known = {name: request[name] for name in names}
    except KeyError as error:
        raise BadArtifact(
            f"{artifact.path} does not say {error} of its build; rebuild it here"
        ) from None
    return CompileSpec(**{**known, "shape": tuple(known["shape"]), "batch": program.batch})
