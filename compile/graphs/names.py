"""Export a module, and keep the names of its parts: which module a step of a graph came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compile.spec import CompileSpec

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram
    from torch.fx import Graph, Node

NETWORK = "_network"
"""Under this name the modules that zoo puts around a network hold it."""


def own_path(path: str) -> str:
    """A module's path inside the network, whatever zoo has put around it."""
    while path == NETWORK or path.startswith(f"{NETWORK}."):
        path = path[len(NETWORK) + 1 :]
    return path


def exported(module: nn.Module, spec: CompileSpec) -> ExportedProgram:
    """torch.export of a prepared module, with the batch's range; on the spec's device."""
    import torch

    with torch.no_grad():
        program = torch.export.export(
            module.to(spec.device),
            (spec.example().to(spec.device),),
            dynamic_shapes=spec.dynamic_shapes(),
        )
    keep_names(program, module)
    return program


def keep_names(program: ExportedProgram, module: nn.Module) -> None:
    """Give the steps of graphs inside `module` the names of the modules that they first came from.

    A network may hold a graph that was exported before, as a quantised one does. To torch.export
    its steps belong to the module that holds the graph, so the first names would be lost. Tracing
    repeats a graph step by step; where it did not, nothing is changed.
    """
    from torch.fx import GraphModule

    for path, inner in module.named_modules():
        if isinstance(inner, GraphModule):
            _name_steps(program.graph, inner.graph, path.rpartition(".")[0])


def _name_steps(traced: Graph, original: Graph, holder: str) -> None:
    """Name the steps of `traced` that repeat the graph `original` inside the module `holder`."""
    calls = [node for node in traced.nodes if node.op == "call_function"]
    steps = [node for node in calls if module_of(node) == holder]
    origins = [node for node in original.nodes if node.op == "call_function"]
    wanted = [node.target for node in origins]
    for first in range(len(steps) - len(wanted) + 1):  # the holder may add steps at both ends
        repeated = steps[first : first + len(wanted)]
        if [node.target for node in repeated] == wanted:
            break
    else:
        return
    for step, origin in zip(repeated, origins, strict=True):
        inner = origin.meta.get("nn_module_stack") or {}
        step.meta["nn_module_stack"] = step.meta["nn_module_stack"] | {
            f"{holder}:{key}": (f"{holder}.{name}".strip("."), kind)
            for key, (name, kind) in inner.items()
        }


def module_of(node: Node) -> str:
    """Path of the innermost module that a step of an exported graph came from; "" if unknown."""
    stack = node.meta.get("nn_module_stack") or {}
    return list(stack.values())[-1][0] if stack else ""
