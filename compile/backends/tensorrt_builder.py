"""From an ONNX graph to an engine, for every package that has the API of TensorRT 10 and 11.

`trt` is such a package, imported: `tensorrt`, or `tensorrt_rtx`, which builds without a GPU. No
backend by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.backends import nvidia, qdq, tensorrt_layers
from compile.backends.tensorrt_layers import Layer
from compile.errors import CheckFailed
from compile.precision import precision as find_precision
from compile.spec import CompileSpec

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What the builder made of a graph."""

    plan: bytes
    """The engine, as it is saved."""
    tf32: bool
    """Whether it may multiply float32 in TF32."""
    layers: list[Layer]
    """Those that the builder logged; none if it logged them in no form that is known."""


def _as_it_is(config: Any) -> None:
    del config


def compiled(
    trt: Any,
    log: Any,
    model: bytes,
    spec: CompileSpec,
    *,
    timings: Path | None = None,
    adjust: Callable[[Any], None] = _as_it_is,
) -> Engine:
    """Build the engine for a serialised ONNX graph; CheckFailed with TensorRT's first reason.

    Args:
        log: of `logger`.
        timings: a file with the timings of kernels, read and written again. None for a package
            that times no kernels when it builds: TensorRT for RTX warns that it ignores them.
        adjust: is given the builder's config last, for what only one package can do.
    """
    builder = trt.Builder(log)
    network = builder.create_network(_creation_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        raise CheckFailed(_parse_error(parser))
    config = _config(trt, builder, spec)
    adjust(config)
    if timings is not None:
        _give_timings(config, timings)
    log.clear()  # timings that it cannot read are logged as errors, and are not why a build fails
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise CheckFailed(f"TensorRT built no engine: {log.reason()}")
    layers = tensorrt_layers.of_log(log.layers)
    log.clear()
    if timings is not None:
        timings.write_bytes(memoryview(config.get_timing_cache().serialize()))
    tf32 = bool(config.get_flag(trt.BuilderFlag.TF32))
    return Engine(plan=bytes(memoryview(plan)), tf32=tf32, layers=layers)


def in_its_precision(model: ModelProto, precision: str) -> ModelProto:
    """An exported graph with its 8 bits as TensorRT takes them; CheckFailed if it takes none such.

    Other precisions lie in the graph already.
    """
    if find_precision(precision).float_grid:
        return qdq.to_fp8(model)
    qdq.check_symmetric(model)
    return model


def _creation_flags(trt: Any) -> int:
    """Strong typing by name in 10.x; from 11 on there is nothing else and the flag goes away."""
    if int(trt.__version__.split(".")[0]) >= 11:
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _config(trt: Any, builder: Any, spec: CompileSpec) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, nvidia.WORKSPACE)
    config.builder_optimization_level = nvidia.OPTIMIZATION_LEVEL
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else layers show no types
    if find_precision(spec.precision).tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)  # set by default, against the bounds of fp32
    if spec.dynamic:
        shapes = nvidia.shapes(spec)
        profile = builder.create_optimization_profile()
        profile.set_shape("input", shapes.smallest, shapes.best, shapes.largest)
        config.add_optimization_profile(profile)
    return config


def _give_timings(config: Any, path: Path) -> None:
    known = path.read_bytes() if path.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(known), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)  # another GPU's


def _parse_error(parser: Any) -> str:
    if parser.num_errors == 0:
        return "TensorRT cannot read the ONNX graph and does not say why"
    error = parser.get_error(0)
    reason = " ".join(error.desc().split())
    node = f"node '{error.node_name()}' ({error.node_operator()})"
    return f"TensorRT cannot read {node} of the ONNX graph: {reason}"


def logger(trt: Any) -> Any:
    """A logger that prints nothing. It keeps the first error since it was last asked or cleared,
    and what the builder said of an engine's layers.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._first, self.layers = "", ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self._first = self._first or " ".join(message.split())
            elif message.startswith(tensorrt_layers.LOGGED):
                self.layers = message

        def clear(self) -> None:
            self._first, self.layers = "", ""

        def reason(self) -> str:
            first, self._first = self._first, ""
            return first or "it does not say why"

    return Log()
