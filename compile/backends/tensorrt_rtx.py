"""TensorRT for RTX: an engine for GPUs that are named, built on any machine.

The builder needs no GPU and no driver, so where it runs there may be nothing to prove the engine
with: the artifact is pending until its check passes on such a GPU. Written for 1.7. It has built
engines; none has been run.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.advice import Missing, pip_install
from compile.artifact.programs import Program, ProgramFile
from compile.backends import nvidia, qdq, tensorrt_layers
from compile.backends.base import Built
from compile.backends.onnx import export
from compile.backends.tensorrt_builder import compiled, in_its_precision, logger
from compile.backends.tensorrt_engine import Plan
from compile.errors import CheckFailed, Unavailable, first_line
from compile.machine import versions
from compile.precision import precision as find_precision
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

NAME = "tensorrt-rtx"
OWN_LIBRARIES = True
# TF32 is missing: PyTorch's own error at it is measured on a GPU.
PRECISIONS = {"cuda": ("fp32", "bf16", "fp16", "int8", "fp8")}
QUANTIZER = "symmetric"
PACKAGES = ("onnx", "onnxscript", "tensorrt-rtx-cu13")
UNTAPPED = nvidia.UNTAPPED
FILE = "model.plan"

_PUBLISHED = {"tensorrt_rtx": "tensorrt-rtx-cu13"}
"""Module -> its package, where the two have different names."""

_FROM_ADA = ("sm_89", "sm_120", "sm_121")
_FROM_AMPERE = ("sm_80", "sm_86", *_FROM_ADA)
GPUS = {
    **dict.fromkeys(("fp32", "bf16", "int8"), _FROM_AMPERE),
    "fp16": ("sm_75", *_FROM_AMPERE),
    "fp8": _FROM_ADA,
}
"""What the builder takes; it refuses the others, such as sm_90 and sm_100."""


def missing(device: str, precision: str) -> Missing | str | None:
    """TensorRT for RTX, the exporter's packages and the quantiser's. No GPU is needed."""
    if device != "cuda":
        return f"builds for NVIDIA GPUs only, not for '{device}'; use --device cuda"
    needed = ["onnx", "onnxscript"] + ["torchao"] * find_precision(precision).quantised
    lacks = [name for name in ("tensorrt_rtx", *needed) if find_spec(name) is None]
    if not lacks:
        return None
    command = pip_install(*(_PUBLISHED.get(name, name) for name in lacks))
    return Missing(f"needs {', '.join(lacks)}: {command}", command)


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Export `module` to ONNX, build the engine for `spec.gpus`, and look at its layers."""
    trt = _import()

    def for_gpus(config: Any) -> None:
        config.num_compute_capabilities = len(spec.gpus)
        for index, gpu in enumerate(spec.gpus):
            capability = getattr(trt.ComputeCapability, gpu.upper().replace("_", ""))
            if not config.set_compute_capability(capability, index):
                raise CheckFailed(f"TensorRT {trt.__version__} does not build for {gpu}")

    model = in_its_precision(export(module, spec), spec.precision)
    held = qdq.precision_of(model)
    engine = compiled(trt, logger(trt), model.SerializeToString(), spec, adjust=for_gpus)
    if not engine.layers:
        raise CheckFailed(f"TensorRT {trt.__version__} shows no layers of what it built")
    tensorrt_layers.check(engine.layers, held, qdq.count_others(model, held))
    (folder / FILE).write_bytes(engine.plan)
    return Built(
        programs=(ProgramFile(file=FILE, batch=spec.batch),),
        precision=held,
        runs_on_torch=False,
        requirements={"gpu_arch": ",".join(spec.gpus), "tensorrt": trt.__version__},
        versions=versions("tensorrt-rtx-cu13", "onnx", "onnxscript"),
    )


def load(path: str, program: ProgramFile, device: str) -> Program:
    """Load with its runtime; runs on torch's current stream, on torch's tensors."""
    del device
    return Plan(_import(), Path(path).read_bytes(), program.outputs)


def runs_in() -> str:
    """The runtime of TensorRT for RTX, without torch's own operators."""
    return "tensorrt_rtx"


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """An engine keeps its weights in a form of its own: Unavailable."""
    raise Unavailable("a TensorRT engine does not show its weights")


def _import() -> Any:
    """The package tensorrt_rtx, or Unavailable: without its libraries it raises anything."""
    try:
        import tensorrt_rtx
    except Exception as error:
        raise Unavailable(
            f"tensorrt_rtx does not import: {first_line(error)}; "
            f"try `{pip_install(_PUBLISHED['tensorrt_rtx'])}`"
        ) from error
    return tensorrt_rtx
