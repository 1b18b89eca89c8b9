"""TensorRT through Torch-TensorRT: engines inside one TorchScript file, for NVIDIA GPUs.

Written for Torch-TensorRT 2.11 to 2.13. Precision lies in the graph: networks are strongly typed
(the default of 2.11 and 2.12, the only way from TensorRT 11 on), so the module arrives cast and
TensorRT may not lower it further.
"""

from __future__ import annotations

import ctypes
import io
import logging
import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from compile.backends.base import Built, Program, ProgramFile
from compile.errors import BadArtifact, CheckFailed, Unavailable
from compile.machine import versions
from compile.precision import of_constants
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

NAME = "tensorrt"
PRECISIONS = {"cuda": ("fp32", "bf16", "fp16")}
MACHINE_CODE = False
FILE = "model.ts"

OPTIONS: dict[str, Any] = {
    "disable_tf32": True,  # the fp32 bound of parity assumes 24-bit products
    "truncate_double": False,
    "min_block_size": 1,  # else networks of fewer than five operators are left to torch
    "require_full_compilation": False,
    "immutable_weights": True,
    "version_compatible": False,
    "hardware_compatible": False,
    "cache_built_engines": False,
    "reuse_cached_engines": False,
}
"""Keywords of torch_tensorrt.dynamo.compile that 2.11, 2.12 and 2.13 all know.

It swallows unknown keywords without a word, so tests hold this list to the real signatures.
"""

_log = logging.getLogger(__name__)


def missing(device: str) -> str | None:
    """Driver, GPU, a CUDA build of torch, and the packages; all that is missing in one line."""
    if device not in PRECISIONS:
        return f"runs on NVIDIA GPUs only, not on '{device}'; use --device cuda"
    lacks = [reason for reason in (_driver_fault(), _torch_fault()) if reason]
    lacks += [name for name in ("torch_tensorrt", "tensorrt") if not _installed(name)]
    if not lacks:
        return None
    return (
        "needs an NVIDIA GPU with its driver, a CUDA build of torch and "
        f"`pip install 'resnet-zoo[tensorrt]'`; missing here: {', '.join(lacks)}"
    )


def _driver_fault() -> str | None:
    """Ask the driver itself: importing torch to learn that there is no GPU takes seconds."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "NVIDIA driver (libcuda.so.1)"
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status != 0 or count.value == 0:
        return f"NVIDIA GPU (the driver sees none, code {status})"
    return None


def _torch_fault() -> str | None:
    spec = find_spec("torch")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    if (folder / "lib" / "libtorch_cuda.so").exists():
        return None
    return "CUDA build of torch"


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # imported already, by a loader that leaves no spec
        return True


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Export `module`, compile it with TensorRT, and save the trace of the result.

    TorchScript is the form that C++ loads with the least: torch::jit::load once
    libtorchtrt_runtime.so is there. A .pt2 from AOTInductor would add a compiler and a wrapper
    library around the same engine, and an exported program can only be loaded in Python. The
    trace is saved here because torch_tensorrt.save traces a GraphModule in just this way, while
    its 2.13 refuses every module that is traced already.
    """
    import torch

    torch_tensorrt = _import()
    example = _example(spec)
    exported = _export(module.to(spec.device), spec, example)
    precision = of_constants(_floating(exported))
    with TemporaryDirectory(prefix="zoo-") as cache, _silenced(), torch.no_grad():
        compiled = torch_tensorrt.dynamo.compile(
            exported,
            inputs=[torch_tensorrt.Input(**_input_range(spec), dtype=torch.float32)],
            device=torch.device(spec.device),
            timing_cache_path=str(Path(cache) / "timing.bin"),
            **OPTIONS,
        )
        _check_partition(compiled, spec)
        traced = torch.jit.trace(compiled, (example,), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(folder / FILE))
    return Built(
        programs=(ProgramFile(file=FILE, batch=spec.batch),),
        precision=precision,
        requirements=_requirements(),
        versions=versions("torch-tensorrt", "tensorrt"),
    )


def _input_range(spec: CompileSpec) -> dict[str, tuple[int, ...]]:
    """The shapes of torch_tensorrt.Input: one, or smallest, best and largest."""
    low, high = ((size, *spec.shape) for size in spec.batch)
    if not spec.dynamic:
        return {"shape": low}
    return {"min_shape": low, "opt_shape": high, "max_shape": high}


def _example(spec: CompileSpec) -> torch.Tensor:
    """A seeded input (N, C, H, W) of the largest batch, on the GPU.

    Torch-TensorRT does not read the best shape from its inputs but from the batch that the graph
    was exported with. Kernels are tuned for it, and who asks for a range wants throughput.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    shape = (spec.batch[1], *spec.shape)
    return torch.randn(shape, generator=generator).to(spec.device)


def _export(module: nn.Module, spec: CompileSpec, example: torch.Tensor) -> ExportedProgram:
    import torch

    shapes = None
    if spec.dynamic:  # a Dim whose ends are equal raises
        low, high = spec.batch
        shapes = ({0: torch.export.Dim("batch", min=low, max=high)},)
    with torch.no_grad():
        return torch.export.export(module, (example,), dynamic_shapes=shapes)


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
        if node.op == "call_module" and "_run_on_acc" in str(node.target):
            engines += 1
        elif node.op == "call_module" and node.target != "_guards_fn":
            inner = getattr(compiled.get_submodule(str(node.target)), "graph", None)
            calls = [n for n in inner.nodes if n.op == "call_function"] if inner else [node]
            left += [str(call.target) for call in calls if call.target is not operator.getitem]
        elif node.op == "call_function" and node.target is not operator.getitem:
            left.append(str(node.target))
    return engines, left


def _requirements() -> dict[str, Any]:
    """GPU architecture, versions, and the libraries that C++ loads before the file, in order.

    libtorchtrt_runtime.so registers the engine's class and needs the other two, which its own
    search path does not find.
    """
    import tensorrt
    import torch

    major = tensorrt.__version__.split(".")[0]
    return {
        "gpu_arch": "sm_{}{}".format(*torch.cuda.get_device_capability()),
        "cuda": torch.version.cuda,
        "tensorrt": tensorrt.__version__,
        "load_first": [
            f"libnvinfer.so.{major}",
            f"libnvinfer_plugin.so.{major}",
            "libtorchtrt_runtime.so",
        ],
    }


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
    return module.eval()  # type: ignore[no-any-return]


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
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable(
            f"torch_tensorrt does not import: {reason}; "
            "try `pip install 'resnet-zoo[tensorrt]'` on a machine with an NVIDIA GPU"
        ) from error
    if not torch_tensorrt.ENABLED_FEATURES.torch_tensorrt_runtime:
        raise Unavailable(
            "this torch_tensorrt has no C++ runtime (libtorchtrt_runtime.so); "
            "reinstall the package torch-tensorrt"
        )
    return torch_tensorrt


@contextmanager
def _silenced() -> Iterator[None]:
    """What is no news: torch.jit is deprecated; 2.11 and 2.12 warn of a typing option that we do
    not give; a trace warns of the checks of input sizes, which it drops.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is (deprec|not supp)")
        yield
