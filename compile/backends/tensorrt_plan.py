"""A TensorRT plan: one engine built from the ONNX graph, to be run without torch.

The form that Triton and other servers take, and the one for INT8 and FP8, where the graph says by
QuantizeLinear and DequantizeLinear what runs in 8 bits. Written for TensorRT 10.15 to 11.0, whose
networks are strongly typed: precision lies in the graph, and only TF32 is left to the builder.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.advice import pip_install
from compile.artifact.programs import Program, ProgramFile
from compile.artifact.triton import Platform
from compile.backends import nvidia, qdq, tensorrt_layers
from compile.backends.base import Built
from compile.backends.onnx import export
from compile.backends.tensorrt_builder import compiled, in_its_precision, logger
from compile.backends.tensorrt_engine import Plan, runtime
from compile.backends.tensorrt_layers import Layer
from compile.errors import CheckFailed, Unavailable, first_line
from compile.machine import versions
from compile.precision import in_tf32
from compile.precision import precision as find_precision
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

NAME = "tensorrt-plan"
OWN_LIBRARIES = True
PRECISIONS = {"cuda": ("fp32", "tf32", "bf16", "fp16", "int8", "fp8")}
QUANTIZER = "symmetric"
PORTABLE = True
PACKAGES = ("onnx", "onnxscript", "tensorrt")
UNTAPPED = nvidia.UNTAPPED
FILE = "model.plan"


def missing(device: str, precision: str) -> str | None:
    """What `nvidia.missing` finds, TensorRT, the exporter's packages and the quantiser's."""
    quantiser = ("torchao",) if find_precision(precision).quantised else ()
    return nvidia.missing(device, ("tensorrt", "onnx", "onnxscript", *quantiser))


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Export `module` to ONNX, let TensorRT build the engine, and look at what it built."""
    trt = _import()
    nvidia.check_gpu(spec)
    model = in_its_precision(export(module, spec), spec.precision)
    held = qdq.precision_of(model)
    log = logger(trt)
    with nvidia.timing_cache(trt.__version__) as timings:
        engine = compiled(
            trt,
            log,
            model.SerializeToString(),
            spec,
            timings=timings,
            adjust=partial(_adjust, trt, spec),
        )
    layers = _layers(trt, log, engine.plan) or engine.layers
    tensorrt_layers.check(layers, held, qdq.count_others(model, held))
    (folder / FILE).write_bytes(engine.plan)
    version = f"{trt.__version__}+" if spec.portable else trt.__version__
    library = f"libnvinfer.so.{trt.__version__.split('.')[0]}"
    return Built(
        programs=(ProgramFile(file=FILE, batch=spec.batch),),
        precision=(engine.tf32 and in_tf32(held)) or held,
        runs_on_torch=False,
        requirements=nvidia.requirements(version, spec, [library]),
        versions=versions("tensorrt", "onnx", "onnxscript"),
    )


def _adjust(trt: Any, spec: CompileSpec, config: Any) -> None:
    if spec.portable:
        # The plan then carries the small runtime that later versions need to run it.
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


def _layers(trt: Any, log: Any, plan: bytes) -> list[Layer]:
    """The layers that the inspector shows; none where it shows names alone, or nothing."""
    made = runtime(trt, log)
    engine = made.deserialize_cuda_engine(plan)
    if engine is None:
        raise CheckFailed(f"TensorRT does not load what it built: {log.reason()}")
    inspector = engine.create_engine_inspector()
    if inspector is None:  # whether a portable plan shows its layers is not known
        return []
    said = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return tensorrt_layers.of_inspector(str(said or "{}"))


def load(path: str, program: ProgramFile, device: str) -> Program:
    """Load with TensorRT's runtime; runs on torch's current stream, on torch's tensors."""
    del device
    return Plan(_import(), Path(path).read_bytes(), program.outputs)


def runs_in() -> str:
    """TensorRT's runtime, without torch's own operators."""
    return "tensorrt"


def triton(precision: str) -> Platform:
    """By TensorRT, as it is."""
    del precision
    return Platform(
        backend="tensorrt",
        platform="tensorrt_plan",
        reads=Path(FILE).suffix,
        file=FILE,
        graph_names=True,
    )


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """An engine keeps its weights in a form of its own: Unavailable."""
    raise Unavailable("a TensorRT engine does not show its weights")


def _import() -> Any:
    """The package tensorrt, or Unavailable: without its libraries the import raises anything."""
    try:
        import tensorrt
    except Exception as error:
        reason = first_line(error)
        raise Unavailable(
            f"tensorrt does not import: {reason}; "
            f"try `{pip_install('tensorrt')}` on a machine with an NVIDIA GPU"
        ) from error
    return tensorrt
