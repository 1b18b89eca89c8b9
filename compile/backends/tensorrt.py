"""TensorRT through Torch-TensorRT: engines inside one TorchScript file, for NVIDIA GPUs.

Written for Torch-TensorRT 2.11 to 2.13. Precision lies in the graph: networks are strongly typed
(the default of 2.11 and 2.12, the only way from TensorRT 11 on), so the module arrives cast and
TensorRT may not lower it further.
"""

from __future__ import annotations

import io
import logging
import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.advice import pip_install
from compile.artifact.programs import Program, ProgramFile
from compile.artifact.triton import Platform
from compile.backends import nvidia
from compile.backends.base import Built
from compile.errors import BadArtifact, CheckFailed, Unavailable, first_line
from compile.machine import versions
from compile.precision import in_tf32, of_constants
from compile.precision import precision as find_precision
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

NAME = "tensorrt"
OWN_LIBRARIES = True
PRECISIONS = {"cuda": ("fp32", "tf32", "bf16", "fp16")}
PORTABLE = True
PACKAGES = ("torch-tensorrt", "tensorrt")
UNTAPPED = nvidia.UNTAPPED
FILE = "model.ts"

_ENGINE = "_run_on_acc"
"""In the name of each part of a compiled graph that is an engine."""

OPTIONS: dict[str, Any] = {
    "truncate_double": False,
    "min_block_size": 1,  # else networks of fewer than five operators are left to torch
    "require_full_compilation": False,
    "workspace_size": nvidia.WORKSPACE,
    "optimization_level": nvidia.OPTIMIZATION_LEVEL,
    "immutable_weights": True,  # weights that could be exchanged later cost speed
    "version_compatible": False,  # the file needs this very torch, hence this TensorRT
    "cache_built_engines": False,  # nvidia.timing_cache says why
    "reuse_cached_engines": False,
}
"""Keywords of torch_tensorrt.dynamo.compile that 2.11, 2.12 and 2.13 all know.

It swallows unknown keywords silently, so tests hold this list to the real signatures.
"""

_log = logging.getLogger(__name__)


def missing(device: str, precision: str) -> str | None:
    """What `nvidia.missing` finds, and the two packages."""
    del precision
    return nvidia.missing(device, ("torch_tensorrt", "tensorrt"))


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Export `module`, compile it with TensorRT, and save the trace of the result.

    TorchScript is the form that C++ loads with the least: torch::jit::load once
    libtorchtrt_runtime.so is there. A .pt2 from AOTInductor would put a compiler and a wrapper
    library around the same engine and need this very torch all the same; whoever wants to be
    free of TorchScript takes `tensorrt-plan`, which needs no torch. An exported program can only
    be loaded in Python. The trace is saved here because torch_tensorrt.save traces a GraphModule
    in just this way, while its 2.13 refuses every module that is traced already.
    """
    import torch

    torch_tensorrt = _import()
    import tensorrt

    nvidia.check_gpu(spec)
    example = nvidia.example(spec, spec.batch[1])
    exported = _export(module.to(spec.device), spec, example)
    with nvidia.timing_cache(tensorrt.__version__) as cache, _silenced(), torch.no_grad():
        compiled = torch_tensorrt.dynamo.compile(
            exported,
            inputs=[torch_tensorrt.Input(**_input_range(spec), dtype=example.dtype)],
            device=torch.device(spec.device),
            disable_tf32=not find_precision(spec.precision).tf32,
            hardware_compatible=spec.portable,
            timing_cache_path=str(cache),
            **OPTIONS,
        )
        _check_partition(compiled, spec)
        traced = torch.jit.trace(compiled, (example,), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(folder / FILE))
    major = tensorrt.__version__.split(".")[0]
    libraries = [f"libnvinfer.so.{major}", f"libnvinfer_plugin.so.{major}"]
    return Built(
        programs=(ProgramFile(file=FILE, batch=spec.batch),),
        precision=_precision(exported, compiled),
        # The runtime registers the engine's class and does not find the other two by itself.
        requirements=nvidia.requirements(
            tensorrt.__version__, spec, [*libraries, "libtorchtrt_runtime.so"]
        ),
        versions=versions("torch-tensorrt", "tensorrt"),
    )


def _input_range(spec: CompileSpec) -> dict[str, tuple[int, ...]]:
    """The shapes of torch_tensorrt.Input: one, or smallest, best and largest."""
    shapes = nvidia.shapes(spec)
    if not spec.dynamic:
        return {"shape": shapes.best}
    return {
        "min_shape": shapes.smallest,
        "opt_shape": shapes.best,
        "max_shape": shapes.largest,
    }


def _export(module: nn.Module, spec: CompileSpec, example: torch.Tensor) -> ExportedProgram:
    """Export at the batch to tune for: dynamo.compile reads that one, not Input's opt_shape."""
    import torch

    with torch.no_grad():
        return torch.export.export(module, (example,), dynamic_shapes=spec.dynamic_shapes())


def _precision(exported: ExportedProgram, compiled: torch.fx.GraphModule) -> str:
    """What the weights are that TensorRT was given; a strongly typed network keeps their dtype.

    TF32 is not a dtype: float32 weights are multiplied that way where every engine was built so.
    """
    held = of_constants(_floating(exported))
    engines = [module for name, module in compiled.named_children() if _ENGINE in name]
    tf32 = [not module.settings.disable_tf32 for module in engines]  # type: ignore[union-attr]
    if not any(tf32):
        return held
    multiplied = in_tf32(held) if all(tf32) else None
    if multiplied is None:
        raise CheckFailed(f"TF32 is allowed in {sum(tf32)} of {len(tf32)} engines of {held}")
    return multiplied


def _floating(exported: ExportedProgram) -> Iterator[torch.Tensor]:
    """The weights that TensorRT is given; a strongly typed network keeps their dtype."""
    for value in exported.state_dict.values():
        if value.is_floating_point():
            yield value


def _check_partition(compiled: torch.fx.GraphModule, spec: CompileSpec) -> None:
    """Report what TensorRT left to torch; refuse a graph without engines, or one that would break.

    A trace keeps the sizes that Python computed: with a range of batches, operators outside the
    engines would silently keep the example's batch.
    """
    engines, left = _partition(compiled)
    names = ", ".join(sorted(set(left)))
    if engines == 0:
        raise CheckFailed(f"TensorRT took no operator of the network; left in torch: {names}")
    if left and spec.dynamic:
        raise CheckFailed(
            f"TensorRT left {names} to torch, where a range of batches cannot be traced; "
            f"use --batch {spec.batch[1]}"
        )
    if left:
        _log.warning("tensorrt: %d operators stay in torch: %s", len(left), names)


def _partition(compiled: torch.fx.GraphModule) -> tuple[int, list[str]]:
    """The number of engines, and the operators outside them by name.

    The check of input sizes that torch.export adds (`_guards_fn`) computes nothing.
    """
    engines, left = 0, []
    for node in compiled.graph.nodes:
        if node.op == "call_module" and _ENGINE in str(node.target):
            engines += 1
        elif node.op == "call_module" and node.target != "_guards_fn":
            inner = getattr(compiled.get_submodule(str(node.target)), "graph", None)
            calls = [n for n in inner.nodes if n.op == "call_function"] if inner else [node]
            left += [str(call.target) for call in calls if call.target is not operator.getitem]
        elif node.op == "call_function" and node.target is not operator.getitem:
            left.append(str(node.target))
    return engines, left


def load(path: str, program: ProgramFile, device: str) -> Program:
    """Load with torch.jit.load, after Torch-TensorRT has registered the engine's class."""
    import torch

    del program
    _import()
    try:
        with _silenced():
            module = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise BadArtifact(f"TensorRT cannot load the file here: {reason}; rebuild it") from error
    return module.eval()


def triton(precision: str) -> Platform:
    """By libtorch, with the engine's class registered by a library that is preloaded."""
    del precision
    return Platform(
        backend="pytorch",
        platform="pytorch_libtorch",
        reads=Path(FILE).suffix,
        file="model.pt",
        note="start the server with LD_PRELOAD=libtorchtrt_runtime.so, which registers the engine",
    )


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """An engine keeps its weights in a form of its own: Unavailable."""
    raise Unavailable("a TensorRT engine does not show its weights")


def _import() -> Any:
    """torch_tensorrt, or Unavailable with its reason.

    Without libnvinfer its import prints to stdout and raises a plain Exception, and without a
    GPU an AssertionError from torch.
    """
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torch_tensorrt
    except Exception as error:
        reason = first_line(error)
        raise Unavailable(
            f"torch_tensorrt does not import: {reason}; "
            f"try `{pip_install('torch-tensorrt')}` on a machine with an NVIDIA GPU"
        ) from error
    if not torch_tensorrt.ENABLED_FEATURES.torch_tensorrt_runtime:
        raise Unavailable(
            "this torch_tensorrt has no C++ runtime (libtorchtrt_runtime.so); "
            "reinstall the package torch-tensorrt"
        )
    return torch_tensorrt


@contextmanager
def _silenced() -> Iterator[None]:
    """What is not news: torch.jit is deprecated; 2.11 and 2.12 warn of a typing option that we do
    not give; a trace warns of the checks of input sizes, which it drops.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is (deprec|not supp)")
        yield
