"""A TensorRT plan: one engine built from the ONNX graph, to be run without torch.

The form that Triton and other servers take, and the one for INT8 and FP8, where the graph says by
QuantizeLinear and DequantizeLinear what runs in 8 bits. Written for TensorRT 10.15 to 11.0, whose
networks are strongly typed: precision lies in the graph, and only TF32 is left to the builder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.artifact.programs import Program, ProgramFile
from compile.artifact.triton import Platform
from compile.backends import nvidia, qdq
from compile.backends.base import Built
from compile.backends.onnx import export
from compile.errors import BadArtifact, CheckFailed, Unavailable, first_line
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

_TYPES = {
    "fp32": r"\b(fp32|float|float32)\b",
    "fp16": r"\b(fp16|half|float16)\b",
    "bf16": r"\b(bf16|bfloat16)\b",
    "int8": r"\bint8\b",
    "fp8": r"\b(fp8|fp8e4m3|float8\w*)\b",
}
"""How the inspector writes a tensor's type, in lower case: `FP16` in 10.x, `Half` in 11."""


def missing(device: str, precision: str) -> str | None:
    """What `nvidia.missing` finds, TensorRT, the exporter's packages and the quantiser's."""
    quantiser = ("torchao",) if find_precision(precision).quantised else ()
    return nvidia.missing(device, ("tensorrt", "onnx", "onnxscript", *quantiser))


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """Export `module` to ONNX, let TensorRT build the engine, and look at what it built."""
    trt = _import()
    nvidia.check_gpu(spec)
    model = export(module, spec)
    if find_precision(spec.precision).float_grid:
        model = qdq.to_fp8(model)
    else:
        qdq.check_symmetric(model)
    held = qdq.precision_of(model)
    log = _log(trt)
    plan, tf32 = _compile(trt, log, model.SerializeToString(), spec)
    _check_engine(_layers(trt, log, plan), held)
    (folder / FILE).write_bytes(plan)
    version = f"{trt.__version__}+" if spec.portable else trt.__version__
    library = f"libnvinfer.so.{trt.__version__.split('.')[0]}"
    return Built(
        programs=(ProgramFile(file=FILE, batch=spec.batch),),
        precision=(tf32 and in_tf32(held)) or held,
        runs_on_torch=False,
        requirements=nvidia.requirements(version, spec, [library]),
        versions=versions("tensorrt", "onnx", "onnxscript"),
    )


def _compile(trt: Any, log: Any, model: bytes, spec: CompileSpec) -> tuple[bytes, bool]:
    """The engine for an ONNX graph, and whether it may multiply in TF32."""
    builder = trt.Builder(log)
    network = builder.create_network(_creation_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        raise CheckFailed(_parse_error(parser))
    config = _config(trt, builder, spec)
    with nvidia.timing_cache(trt.__version__) as path:
        known = path.read_bytes() if path.is_file() else b""
        if not config.set_timing_cache(config.create_timing_cache(known), False):
            config.set_timing_cache(config.create_timing_cache(b""), False)  # another GPU's
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise CheckFailed(f"TensorRT built no engine: {log.reason()}")
        path.write_bytes(memoryview(config.get_timing_cache().serialize()))
    return bytes(memoryview(plan)), bool(config.get_flag(trt.BuilderFlag.TF32))


def _creation_flags(trt: Any) -> int:
    """Strong typing by name in 10.x; from 11 on there is nothing else and the flag goes away."""
    if int(trt.__version__.split(".")[0]) >= 11:
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _config(trt: Any, builder: Any, spec: CompileSpec) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, nvidia.WORKSPACE)
    config.builder_optimization_level = nvidia.OPTIMIZATION_LEVEL
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # shows types: _check_engine
    if find_precision(spec.precision).tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)  # set by default, against the bounds of fp32
    if spec.portable:
        # The plan then carries the small runtime that later versions need to run it.
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if spec.dynamic:
        shapes = nvidia.shapes(spec)
        profile = builder.create_optimization_profile()
        profile.set_shape("input", shapes.smallest, shapes.best, shapes.largest)
        config.add_optimization_profile(profile)
    return config


def _parse_error(parser: Any) -> str:
    if parser.num_errors == 0:
        return "TensorRT cannot read the ONNX graph and does not say why"
    error = parser.get_error(0)
    reason = " ".join(error.desc().split())
    node = f"node '{error.node_name()}' ({error.node_operator()})"
    return f"TensorRT cannot read {node} of the ONNX graph: {reason}"


def _layers(trt: Any, log: Any, plan: bytes) -> str:
    """What the inspector says of an engine's layers, as JSON; `{}` where it says nothing."""
    runtime = _runtime(trt, log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise CheckFailed(f"TensorRT does not load what it built: {log.reason()}")
    inspector = engine.create_engine_inspector()
    if inspector is None:  # whether a portable plan shows its layers is not known
        return "{}"
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON) or "{}")


def _check_engine(text: str, precision: str) -> None:
    """Refuse an engine whose convolutions read nothing of the graph's type, where it shows types.

    Where it shows names alone, the graph's type stands, which a strongly typed network keeps.
    """
    layers = [layer for layer in json.loads(text).get("Layers", []) if isinstance(layer, dict)]
    multiplying = [layer for layer in layers if re.search(r"conv|gemm", _kind(layer), re.I)]
    shown = set()
    for layer in multiplying or layers:
        for tensor in layer.get("Inputs", []):
            said = " ".join(str(tensor.get(key, "")) for key in ("Format/Datatype", "DataType"))
            shown |= {name for name, how in _TYPES.items() if re.search(how, said.lower())}
    if shown and precision not in shown:
        types = ", ".join(sorted(shown))
        raise CheckFailed(f"the graph is {precision}, TensorRT's engine multiplies {types}")


def _kind(layer: dict[str, Any]) -> str:
    return f"{layer.get('LayerType', '')} {layer.get('Name', '')}"


def load(path: str, program: ProgramFile, device: str) -> Program:
    """Load with TensorRT's runtime; runs on torch's current stream, on torch's tensors."""
    del program, device
    return _Plan(Path(path).read_bytes())


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


class _Plan:
    """An engine and its context, which need each other and the runtime to stay."""

    def __init__(self, plan: bytes) -> None:
        trt = _import()
        self._log = _log(trt)
        self._runtime = _runtime(trt, self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BadArtifact(
                f"TensorRT {trt.__version__} cannot load the file here: {self._log.reason()}; "
                "rebuild it"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise Unavailable(f"TensorRT cannot run the file here: {self._log.reason()}")
        # The detail that _check_engine reads slows each call down unless it is turned off again.
        self._context.nvtx_verbosity = trt.ProfilingVerbosity.NONE

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, classes) float32, as the manifest says."""
        import torch

        x = x.contiguous()  # TensorRT gets an address and believes that it is
        context = self._context
        if not context.set_input_shape("input", tuple(x.shape)):
            raise RuntimeError(f"TensorRT refuses the shape {tuple(x.shape)}: {self._log.reason()}")
        shape = tuple(context.get_tensor_shape("logits"))
        out = torch.empty(shape, dtype=torch.float32, device=x.device)
        context.set_tensor_address("input", x.data_ptr())
        context.set_tensor_address("logits", out.data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream(x.device).cuda_stream):
            raise RuntimeError(f"TensorRT did not run: {self._log.reason()}")
        return out


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """An engine keeps its weights in a form of its own: Unavailable."""
    raise Unavailable("a TensorRT engine does not show its weights")


def _runtime(trt: Any, log: Any) -> Any:
    """A runtime that also takes portable plans, which carry code of the host.

    That asks for no new trust: every kind of artifact is a program, and its hash was compared.
    """
    runtime = trt.Runtime(log)
    runtime.engine_host_code_allowed = True
    return runtime


def _log(trt: Any) -> Any:
    """A logger that prints nothing and keeps the first error since it was last asked."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._first = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self._first = self._first or " ".join(message.split())

        def reason(self) -> str:
            first, self._first = self._first, ""
            return first or "it does not say why"

    return Log()


def _import() -> Any:
    """The package tensorrt, or Unavailable: without its libraries the import raises anything."""
    try:
        import tensorrt
    except Exception as error:
        reason = first_line(error)
        raise Unavailable(
            f"tensorrt does not import: {reason}; "
            "try `pip install 'resnet-zoo[tensorrt]'` on a machine with an NVIDIA GPU"
        ) from error
    return tensorrt
