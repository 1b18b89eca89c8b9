"""A stand-in for NVIDIA's package tensorrt: it records, and its engines run the ONNX graph.

Only what the three versions of tests/data/tensorrt_names.json have in common may be used: the
stand-in refuses to be given an attribute that it lacks, and a test compares it with the table.
"""

from __future__ import annotations

import ctypes
import json
from enum import IntEnum
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy
import onnx
from onnx.reference import ReferenceEvaluator

TABLE = json.loads(Path(__file__).parents[1].joinpath("data", "tensorrt_names.json").read_text())
"""What NVIDIA's compiled Python modules of these versions show of themselves when imported."""


def enum(name: str) -> Any:
    """An enumeration with the members of the table."""
    return IntEnum(name, TABLE["names"][name], start=0)


class Strict:
    """Takes no attribute that its class does not name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no {name}")
        object.__setattr__(self, name, value)


def shown(kind: str, **given: str) -> str:
    """What the inspector says of an engine with one layer that multiplies."""
    conv = {"Name": "node_conv2d", "LayerType": kind, "Inputs": [{"Name": "x", **given}]}
    copy = {"Name": "in", "LayerType": "Reformat", "Inputs": [{"Format/Datatype": "Int8"}]}
    return json.dumps({"Layers": [copy, conv], "Bindings": ["input"]})


def logged(kind: str, *types: str) -> str:
    """What the builder logs of layers that read `types`, between two that do not multiply."""
    lines = [
        "Name: __mye197_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: []",
        *(
            f"Name: node_conv2d_{i}_myl0_2, LayerType: {kind}, Inputs: [ {{ Name: relu_{i}, "
            f"Dimensions: [-1,3,8,8], Strides: [192,1,24,3], Datatype: {name}, Format: (NHWC) "
            "Channel major format }], Constants: [ { Name: const, Dimensions: [5,3,3,3], "
            "Datatype: BFloat16, Format: (NHWC) Channel major format }], Outputs: []"
            for i, name in enumerate(types)
        ),
        "Name: __myl_Mean_myl0_3, LayerType: kgen, Inputs: [ { Name: y, Datatype: Half, "
        "Format: (NHWC) Channel major format }], Constants: [], Outputs: []",
    ]
    return "\n".join(["Layers:", *lines, "", "I/O Tensors:", " Name: input, DataType: Float"])


class ILogger:
    Severity = enum("ILogger.Severity")

    def log(self, severity: Any, message: str) -> None:
        raise NotImplementedError


class ITimingCache(Strict):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> bytearray:
        return bytearray(self._data + b"timed ")


class IBuilderConfig(Strict):
    builder_optimization_level: Any = None
    profiling_verbosity: Any = None
    hardware_compatibility_level: Any = None

    def __init__(self, flags: set[Any], foreign: bytes) -> None:
        self._flags, self._pools, self._profiles = flags, {}, []
        self._cache: Any = None
        self._foreign = foreign

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag)

    def get_flag(self, flag: Any) -> bool:
        return flag in self._flags

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool.name] = pool_size

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile._shapes)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._data and cache._data == self._foreign:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        return self._cache


class IOptimizationProfile(Strict):
    def __init__(self) -> None:
        self._shapes: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        self._shapes[input] = (min, opt, max)


class ParserError(Strict):
    def node_name(self) -> str:
        return "node_conv2d"

    def node_operator(self) -> str:
        return "Conv"

    def desc(self) -> str:
        return "Assertion failed:\n  the weight is not a constant"


class EngineInspector(Strict):
    def __init__(self, text: str) -> None:
        self._text = text

    def get_engine_information(self, format: Any) -> str:  # noqa: A002
        assert format.name == "JSON"
        return self._text


class IExecutionContext(Strict):
    nvtx_verbosity: Any = None

    def __init__(self, model: bytes, log: Any, works: bool) -> None:
        self._evaluator = ReferenceEvaluator(graph := onnx.load_from_string(model))
        self._shapes = {
            output.name: [size.dim_value for size in output.type.tensor_type.shape.dim][1:]
            for output in graph.graph.output
        }
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()
        self._log, self._works = log, works

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = shape
        return name == "input" and shape[0] <= 64

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._shape[0], *self._shapes[name])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Read the input from its address, write each output to its own."""
        if not self._works:
            self._log.log(ILogger.Severity.WARNING, "no news")
            self._log.log(ILogger.Severity.ERROR, "out of\nmemory")
            self._log.log(ILogger.Severity.ERROR, "and what came of it")
            return False
        floats = ctypes.c_float * int(numpy.prod(self._shape))
        x = numpy.ctypeslib.as_array(floats.from_address(self._addresses["input"]))
        answers = self._evaluator.run(None, {"input": x.reshape(self._shape)})
        for name, out in zip(self._shapes, answers, strict=True):
            data = numpy.ascontiguousarray(out, dtype=numpy.float32)
            ctypes.memmove(self._addresses[name], data.ctypes.data, data.nbytes)
        return True


class FakeTensorRT(ModuleType):
    """The module. What the next build or load does is decided by its attributes."""

    def __init__(self, version: str = "11.0.0.114") -> None:
        super().__init__("tensorrt")
        self.__spec__ = ModuleSpec("tensorrt", None)  # torch asks for it
        self.__version__ = version
        self.ILogger = ILogger
        for name in TABLE["names"]:
            if name[0] != "I" and name not in {kind.__name__ for kind in CLASSES}:
                setattr(self, name, enum(name))
        self.errors: list[ParserError] | None = None
        self.builds = self.loads = self.works = True
        self.inspector: str | None = "{}"
        self.foreign, self.logged, self.noise = b"", "", ""
        self.seen = SimpleNamespace()

    def Builder(self, logger: ILogger) -> Builder:
        return Builder(self, logger)

    def OnnxParser(self, network: Any, logger: ILogger) -> OnnxParser:
        return OnnxParser(self, network)

    def Runtime(self, logger: ILogger) -> Runtime:
        self.seen.runtime = Runtime(self, logger)
        return self.seen.runtime


class Builder(Strict):
    def __init__(self, trt: FakeTensorRT, logger: ILogger) -> None:
        self._trt, self._log = trt, logger

    def create_network(self, flags: int = 0) -> dict[str, bytes]:
        self._trt.seen.flags = flags
        return {}

    def create_builder_config(self) -> IBuilderConfig:
        self._make_noise()
        config = IBuilderConfig({self._trt.BuilderFlag.TF32}, self._trt.foreign)
        self._trt.seen.config = config
        return config

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: IBuilderConfig) -> bytearray | None:
        if self._trt.builds:
            self._make_noise()
            self._log.log(ILogger.Severity.VERBOSE, self._trt.logged)
            return bytearray(network["model"])
        self._log.log(ILogger.Severity.ERROR, "Error Code 10: no kernel for\n node_conv2d")
        return None

    def _make_noise(self) -> None:
        if self._trt.noise:
            self._log.log(ILogger.Severity.ERROR, self._trt.noise)


class OnnxParser(Strict):
    def __init__(self, trt: FakeTensorRT, network: Any) -> None:
        self._trt, self._network = trt, network

    @property
    def num_errors(self) -> int:
        return len(self._trt.errors or [])

    def parse(self, model: bytes) -> bool:
        self._network["model"] = model
        self._trt.seen.model = onnx.load_from_string(model)
        return self._trt.errors is None

    def get_error(self, index: int) -> ParserError:
        assert self._trt.errors is not None
        return self._trt.errors[index]


class Runtime(Strict):
    engine_host_code_allowed: Any = False

    def __init__(self, trt: FakeTensorRT, logger: ILogger) -> None:
        self._trt, self._log = trt, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if self._trt.loads:
            return ICudaEngine(self._trt, self._log, serialized_engine)
        self._log.log(ILogger.Severity.ERROR, "the plan is of another version")
        return None


class ICudaEngine(Strict):
    def __init__(self, trt: FakeTensorRT, logger: ILogger, model: bytes) -> None:
        self._trt, self._log, self._model = trt, logger, model
        graph = onnx.load_from_string(model).graph
        self._names = [each.name for each in (*graph.input, *graph.output)]

    @property
    def num_io_tensors(self) -> int:
        return len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def create_engine_inspector(self) -> EngineInspector | None:
        text = self._trt.inspector
        return None if text is None else EngineInspector(text)

    def create_execution_context(self) -> IExecutionContext:
        self._trt.seen.context = IExecutionContext(self._model, self._log, self._trt.works)
        return self._trt.seen.context


CLASSES = (
    *(Builder, EngineInspector, IBuilderConfig, ICudaEngine, IExecutionContext, ILogger),
    *(IOptimizationProfile, ITimingCache, OnnxParser, ParserError, Runtime),
)
"""Each is compared with the table."""
