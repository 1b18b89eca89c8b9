"""What a backend is: one module of this folder with the names that `Backend` lists.

A backend turns an eager module into files and loads those files again. It never decides what a
user may ask for, never publishes and never judges: `compile.api` and `compile.parity` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram
    from torch.fx import Graph, Node

Program = Callable[["torch.Tensor"], "torch.Tensor"]
"""A loaded program: float32 (N, C, H, W) or uint8 (N, H, W, C) in, float32 (N, classes) out."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a program takes. An entry of the manifest's `inputs`."""

    dtype: str
    """`float32`, laid out NCHW, or `uint8`, laid out NHWC."""
    shape: tuple[int, int, int]
    """One sample as it lies in memory: (C, H, W), or (H, W, C) for bytes."""

    @property
    def chw(self) -> tuple[int, int, int]:
        """Channels, height and width, whatever the layout."""
        first, second, third = self.shape
        return self.shape if self.dtype == "float32" else (third, first, second)

    def __str__(self) -> str:
        return f"{self.dtype} (N, {', '.join(map(str, self.shape))})"


@dataclass(frozen=True, kw_only=True)
class ProgramFile:
    """One file that answers a range of batches. An entry of the manifest's `programs`."""

    file: str
    """Name inside the artifact folder."""
    batch: tuple[int, int]
    """Smallest and largest batch."""
    entry: str | None = None
    """The model's name inside a .pt2 package."""

    @property
    def batch_text(self) -> str:
        """`8`, or `1:64` for a range."""
        low, high = self.batch
        return str(low) if low == high else f"{low}:{high}"


@dataclass(frozen=True, kw_only=True)
class Built:
    """What `build` wrote and what it needs to run."""

    programs: tuple[ProgramFile, ...]
    precision: str
    """The precision read back from the file, not the one asked for."""
    runs_on_torch: bool = True
    """Whether loading needs this very version of libtorch."""
    native: bool = False
    """Whether it was compiled with -march=native: then it needs every flag of this CPU."""
    requirements: dict[str, Any] = field(default_factory=dict)
    """Entries of the manifest's `requirements`: gpu_arch, cuda, tensorrt, load_first."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that built it."""


class Backend(Protocol):
    """The names that a backend's module has. Heavy packages are imported inside its functions."""

    NAME: str
    PRECISIONS: Mapping[str, tuple[str, ...]]
    """What it builds, by device."""
    QUANTIZER: str
    """How weights and activations are put on a grid, of compile.quantize.SCHEMES; "" for none. The
    CPU decides which of x86's two it is."""
    MACHINE_CODE: bool
    """Whether the file holds code for the CPU it was built on."""

    def missing(self, device: str, precision: str) -> str | None:
        """Why this machine cannot build here and what would mend it, in one line; None if it can.

        Answers within a second and imports nothing heavy.
        """

    def build(self, module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
        """Write the program for `module` into `folder`.

        `module` is in evaluation mode with batch norms folded; it takes what `spec.example()`
        gives, returns float32 and computes in `spec.precision` inside. At int8 and fp8 it is the
        fake-quantised graph of compile.quantize.
        """

    def load(self, path: str, program: ProgramFile, device: str) -> Program:
        """Load a program that `build` wrote; `path` may be a sealed copy under another name."""

    def constants(self, path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
        """Yield the weights in the saved file, int8 or floating point, in any order and layout.

        Parity compares them with the folded module: stale or wrongly rounded weights show here.
        Raises Unavailable where the file does not reveal its weights, which the manifest records.
        """


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
    """Give the steps of graphs inside `module`, traced again, the modules they first came from.

    To torch.export the steps of a graph are those of the module that holds it, so that the names
    of a network that was exported before, as quantised ones are, would be gone. Tracing repeats a
    graph step by step; where it did not, nothing is changed.
    """
    from torch.fx import GraphModule

    for path, inner in module.named_modules():
        if isinstance(inner, GraphModule):
            _name_steps(program.graph, inner.graph, path.rpartition(".")[0])


def _name_steps(traced: Graph, original: Graph, holder: str) -> None:
    calls = [node for node in traced.nodes if node.op == "call_function"]
    steps = [node for node in calls if module_of(node) == holder]
    origins = [node for node in original.nodes if node.op == "call_function"]
    wanted = [node.target for node in origins]
    for first in range(len(steps) - len(wanted) + 1):  # the holder may add steps at both ends
        found = steps[first : first + len(wanted)]
        if [node.target for node in found] == wanted:
            break
    else:
        return
    for step, origin in zip(found, origins, strict=True):
        inner = origin.meta.get("nn_module_stack") or {}
        step.meta["nn_module_stack"] = step.meta["nn_module_stack"] | {
            f"{holder}:{key}": (f"{holder}.{name}".strip("."), kind)
            for key, (name, kind) in inner.items()
        }


def module_of(node: Node) -> str:
    """Path of the innermost module that a step of an exported graph came from; "" where none is
    known.
    """
    stack = node.meta.get("nn_module_stack") or {}
    path: str = list(stack.values())[-1][0] if stack else ""
    return path
