"""What a backend is: one module of this folder with the names that `Backend` lists.

A backend turns an eager module into files and loads those files again. It never decides what a
user may ask for, never publishes and never judges: `compile.api` and `compile.proof` do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from compile.artifact.programs import Program, ProgramFile
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


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
    """How weights and activations are put on a grid, of `quantize.SCHEMES`; "" for none. The
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
        fake-quantised graph of compile.network.quantize.
        """

    def load(self, path: str, program: ProgramFile, device: str) -> Program:
        """Load a program that `build` wrote; `path` may be a sealed copy under another name."""

    def constants(self, path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
        """Yield the weights in the saved file, int8 or floating point, in any order and layout.

        Parity compares them with the folded module: stale or wrongly rounded weights show here.
        Raises Unavailable where the file does not reveal its weights, which the manifest records.
        """
