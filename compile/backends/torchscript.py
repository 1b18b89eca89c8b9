"""TorchScript: traced, frozen, one file that libtorch loads by itself.

Deprecated upstream since torch 2.11 and kept because people have to serve it; `inductor` is the
first-class form. The frozen module is what we ship: a module that went through
torch.jit.optimize_for_inference saves without an error and then fails to load.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.artifact.programs import Program, ProgramFile
from compile.artifact.triton import Platform
from compile.backends import nvidia
from compile.backends.base import Built
from compile.backends.events import by_torch
from compile.errors import BadArtifact
from compile.graphs.names import exported
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from compile.artifact.reading import Artifact
    from compile.graphs.taps import Taps

NAME = "torchscript"
PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "tf32", "bf16", "fp16")}
profile = by_torch
FILE = "model.ts"
MODULES = "modules.json"
"""A member of the archive: operator and module of each step, since saving drops the modules."""


def missing(device: str, precision: str) -> str | None:
    """torch alone is enough on a CPU."""
    del precision
    return nvidia.missing(device, ()) if device == "cuda" else None


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Trace, freeze and save `module`; the trace accepts any batch."""
    import torch

    with torch.no_grad(), _deprecation_silenced(), _constants_noted() as doubts:
        try:
            _write(module.to(spec.device), spec, folder / FILE)
        except Exception:  # whatever the module, or torch.jit, says of a trace
            with suppress(Exception):
                _write(exported(module, spec).module(), spec, folder / FILE)
                return _built(folder, spec, doubts)
            raise
    return _built(folder, spec, doubts)


def _write(module: nn.Module, spec: CompileSpec, path: Path) -> None:
    """Trace, freeze and save a module, or its exported graph where torch.jit cannot follow it.

    It cannot follow an autograd function, a property that raises, or a size that is a key of a
    dictionary: its sizes are tensors. A graph has none of these, and no names of modules.
    """
    import torch

    example = spec.example().to(spec.device)
    traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    frozen = torch.jit.freeze(traced.eval())
    torch.jit.save(frozen, str(path), _extra_files={MODULES: json.dumps(_modules(frozen))})


def _built(folder: Path, spec: CompileSpec, doubts: list[str]) -> Built:
    program = ProgramFile(file=FILE, batch=spec.batch)
    precision = _precision(folder / FILE)
    return Built(programs=(program,), precision=precision, doubts=tuple(doubts))


@contextmanager
def _constants_noted() -> Iterator[list[str]]:
    """Note where a trace makes a constant of a value, as torch warns: it may be that of a size."""
    import torch

    doubts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        try:
            yield doubts
        finally:
            for each in caught:
                if "Converting a tensor to a Python" in str(each.message):
                    place = f"{Path(each.filename).name}, line {each.lineno}"
                    doubts.append(
                        f"the trace made a constant of a number at {place}; compute with the "
                        "tensor instead of .item(), float() or if"
                    )


def load(path: str, program: ProgramFile, device: str) -> Program:
    """Load with torch.jit.load."""
    import torch

    del program
    with _deprecation_silenced():
        module = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
    return module.eval()


def triton(precision: str) -> Platform:
    """By libtorch."""
    del precision
    return Platform(
        backend="pytorch", platform="pytorch_libtorch", reads=Path(FILE).suffix, file="model.pt"
    )


def open_taps(artifact: Artifact, program: ProgramFile, wrappers: int) -> Taps:
    """Values from the frozen graph with more outputs."""
    from compile.backends.torchscript_taps import ScriptTaps

    graph, nodes = named_graph(artifact.files[program.file].path)
    return ScriptTaps(graph, nodes, wrappers)


def named_graph(path: str) -> tuple[Any, list[tuple[Any, str | None]]]:
    """The saved module, and the nodes of its inlined graph in order, each with its module's path.

    The nodes die with the graph, which the first value keeps. Without the archive's list of
    modules, or where it does not fit the graph, every path is None.
    """
    import torch

    extra = {MODULES: ""}
    with _deprecation_silenced():
        module = torch.jit.load(  # type: ignore[no-untyped-call]
            path, map_location="cpu", _extra_files=extra
        )
    graph = module.inlined_graph.copy()
    nodes = list(graph.nodes())
    try:
        saved = [(str(kind), str(path)) for kind, path in json.loads(extra[MODULES] or "[]")]
    except (ValueError, TypeError):
        raise BadArtifact(f"the member {MODULES} of the .ts lists no modules; rebuild it") from None
    steps = [node for node in nodes if _is_step(node)]
    paths: list[str | None] = [None] * len(steps)
    if [kind for kind, _ in saved] == [node.kind() for node in steps]:
        paths = [path for _, path in saved]
    path_of_step = iter(paths)
    return graph, [(node, next(path_of_step) if _is_step(node) else None) for node in nodes]


def _modules(frozen: Any) -> list[tuple[str, str]]:
    """Operator and module's path of each step of a frozen graph, in order."""
    steps = [node for node in frozen.inlined_graph.nodes() if _is_step(node)]
    return [
        (node.kind(), node.scopeName().rpartition("/")[2].removeprefix("__module").lstrip("."))
        for node in steps
    ]


def _is_step(node: Any) -> bool:
    """Whether it computes: constants and lists are written out anew by each load."""
    return str(node.kind()).startswith("aten::")


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """The tensors that the saved graph holds."""
    import torch

    module = load(path, program, "cpu")
    graph = module.inlined_graph  # type: ignore[attr-defined]  # its nodes die with it
    for node in graph.findAllNodes("prim::Constant"):
        if node.output().type().kind() == "TensorType":
            value = node.output().toIValue()
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                yield value


def _precision(path: Path) -> str:
    from compile.precision import of_constants

    program = ProgramFile(file=FILE, batch=(1, 1))
    return of_constants(constants(str(path), program))


@contextmanager
def _deprecation_silenced() -> Iterator[None]:
    """No word of torch's own deprecation, nor that a trace may hold for one batch alone: every
    batch of the range is tried on the saved file.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is (deprec|not supp)")
        yield
