"""What a backend is: one module of this folder with the names that `Backend` lists.

A backend turns an eager module into files and loads those files again. It never decides what a
user may ask for, never publishes and never judges: `compile.api` and `compile.proof` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from compile.artifact.programs import Program, ProgramFile
from compile.backends.events import Event
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from compile.artifact.reading import Artifact
    from compile.artifact.triton import Platform
    from compile.graphs.taps import Taps


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
    doubts: tuple[str, ...] = ()
    """What may be why it is wrong, if it is wrong: each in words, with a remedy."""


def _torch() -> str:
    return "torch"


def _not_served(precision: str) -> None:
    del precision


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The names of a backend's module. It may leave out those that have a default here.

    The module imports heavy packages inside its functions alone.
    """

    NAME: str
    """As in BACKENDS, in manifests and on the command line."""
    PRECISIONS: Mapping[str, tuple[str, ...]]
    """What it builds, by device."""

    missing: Callable[[str, str], str | None]
    """(device, precision) -> why this machine cannot build here and what would repair it, in one
    line; None if it can. Answers within a second and imports nothing heavy."""

    build: Callable[[nn.Module, CompileSpec, Path], Built]
    """(module, spec, folder): write the program for `module` into `folder`.

    `module` is in evaluation mode with batch norms folded; it takes what `spec.example()` gives,
    returns float32 and computes in `spec.precision` inside. At a quantised precision it is the
    fake-quantised graph of compile.network.quantize."""

    load: Callable[[str, ProgramFile, str], Program]
    """(path, program, device): load a program that `build` wrote; `path` may be a sealed copy under
    another name. The program checks no input: compile.loading does."""

    constants: Callable[[str, ProgramFile], Iterator[torch.Tensor]]
    """(path, program): yield the weights in the saved file, int8 or floating point, in any order
    and layout. Parity compares them with the folded module: stale or wrongly rounded weights show
    here. Raises Unavailable if the file does not reveal its weights; the manifest says so."""

    QUANTIZER: str = ""
    """How weights and activations are put on a grid, of `quantize.SCHEMES`; "" for none. The CPU
    decides which of x86's two it is."""
    MACHINE_CODE: bool = False
    """Whether the file holds code for the CPU it was built on."""
    PORTABLE: bool = False
    """Whether it builds for every GPU from Ampere on where `spec.portable` asks for it."""
    GPUS: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Precision -> the GPUs that it builds for without having one; `spec.gpus` names some of them.
    Empty for a backend that builds for the GPU that is here, or for none."""
    PACKAGES: tuple[str, ...] = ()
    """Distributions beside torch that decide what is built: a new version builds again."""
    OWN_LIBRARIES: bool = False
    """Whether its Python package loads the libraries of `requirements.load_first` itself."""
    PRELOADS_ALLOCATOR: bool = True
    """Whether `zoo bench` may preload zoo-run's allocator where Python runs the file."""

    runs_in: Callable[[], str] = _torch
    """What executes its files in Python here: `torch`, `onnxruntime`, ..."""

    triton: Callable[[str], Platform | None] = _not_served
    """Precision -> how a Triton server runs its files; None if it cannot."""

    profile: Callable[[Program, str, ProgramFile, torch.Tensor, int], list[Event]] | None = None
    """(run, path, program, x, calls): what a profiler sees of so many calls of a program with x on
    the CPU, after a few that warm it up. `run` is the loaded program, `path` and `program` are
    those of `load`. None if its runtime does not say how long its operators take."""

    open_taps: Callable[[Artifact, ProgramFile, int], Taps] | None = None
    """(artifact, program, wrappers): open a program for `zoo bisect`, which reads values inside it;
    `wrappers` are the modules around the network in its graph. None if no value can be read."""
    UNTAPPED: str = "gives no values from inside"
    """What to say where `open_taps` is None: it follows the backend's name."""

    @classmethod
    def of(cls, module: ModuleType) -> Backend:
        """Return the backend that a module describes; TypeError where it lacks a name."""
        names = [each.name for each in fields(cls) if hasattr(module, each.name)]
        return cls(**{name: getattr(module, name) for name in names})
