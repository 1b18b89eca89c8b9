"""OpenVINO: the .onnx of the onnx backend, compiled by OpenVINO's CPU plugin where it is loaded.

The plugin computes in bfloat16 on CPUs that can unless it is told otherwise, and takes the next
best precision silently where it lacks the one asked for. So it is told what the file holds,
and asked afterwards what it took.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.artifact.programs import Program, ProgramFile
from compile.artifact.triton import Platform
from compile.backends import onnx, onnx_session
from compile.backends.base import Built
from compile.backends.events import WARMUP_CALLS, Event
from compile.backends.qdq_repeats import drop_repeats
from compile.errors import BadArtifact, Unavailable
from compile.machine import cpu_flags, versions
from compile.precision import REFERENCE, of_constants
from compile.returned import as_returned
from compile.spec import CompileSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from compile.artifact.reading import Artifact
    from compile.graphs.taps import Taps

NAME = "openvino"
PRECISIONS = {"cpu": ("fp32", "bf16", "fp16", "int8")}
QUANTIZER = "x86"
PACKAGES = ("onnx", "onnxsim", "onnxscript", "openvino")
PRELOADS_ALLOCATOR = False
"""The Python package of OpenVINO 2026.4.1 ends with a double free, in compile_model, under a
tcmalloc that is preloaded. zoo-run, which links tcmalloc, runs correctly."""
FILE = onnx.FILE

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""What OpenVINO is told to compute in; of int8, the layers that are not quantised."""

_TRITON_HINTS = {"bf16": (("HINT_BF16", "YES"),)}
"""What Triton's OpenVINO can be asked to compute in."""

_NEEDED_FLAG = {"bf16": "avx512_bf16", "fp16": "avx512_fp16"}


def missing(device: str, precision: str) -> str | None:
    """OpenVINO itself, the exporter's packages, and a CPU that computes in the precision."""
    absent = onnx.absent(precision, "openvino")
    if absent is not None:
        return absent
    flag = _NEEDED_FLAG.get(precision)
    if flag is not None and flag not in cpu_flags():
        return f"computes in {precision} only on a CPU with {flag}; this one lacks it"
    return None


def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
    """The .onnx of the onnx backend without needless rounding, compared in OpenVINO itself."""
    opened = partial(session, precision=spec.precision)
    built = onnx.write(module, spec, folder / FILE, opened, drop_repeats)
    built.versions.update(versions("openvino"))
    return built


def load(path: str, program: ProgramFile, device: str) -> Program:
    """Compile the file for this CPU, at the precision that its weights have.

    Raises BadArtifact if that is not the manifest's.
    """
    import torch

    del device
    run = session(onnx_session.whole_model(path), _precision(path, program), program.outputs)
    return lambda x: as_returned([torch.from_numpy(y) for y in run(x.numpy())])


def _precision(path: str, program: ProgramFile) -> str:
    """The precision of the weights in the file. Raises BadArtifact if it is not the manifest's."""
    held = of_constants(constants(path, program))
    if held not in _HINTS:  # the network itself computes in several types
        held = program.precision or REFERENCE
    if program.precision not in (None, held):
        raise BadArtifact(
            f"{program.file} holds weights in {held}, and the manifest says {program.precision}"
        )
    return held


def session(
    model: bytes, precision: str, outputs: Sequence[str] | None = None
) -> onnx_session.Session:
    """Load a graph; Unavailable if the CPU plugin would compute in another precision."""
    compiled = _compiled(model, precision)
    request = compiled.create_infer_request()
    held = [output.get_any_name() for output in compiled.outputs]
    names = onnx_session.in_order(outputs, held)

    def run(x: Any) -> list[Any]:
        results = request.infer([x])
        return [results[name].copy() for name in names]

    return run


def _compiled(model: bytes, precision: str, **more: Any) -> Any:
    """A compiled model for one call at a time; `more` are further settings."""
    import torch

    core = _core()
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        **more,
    }
    compiled = core.compile_model(core.read_model(model, b""), "CPU", settings)
    taken = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    if taken != _HINTS[precision]:
        raise Unavailable(f"openvino computes in {taken} on this CPU, not in {precision}")
    return compiled


def profile(
    run: Program, path: str, program: ProgramFile, x: torch.Tensor, calls: int
) -> list[Event]:
    """OpenVINO's own counters. Each is the mean time of an operator over all calls so far, and says
    nothing of when it ran: here the operators of a call follow each other.
    """
    del run
    held = _precision(path, program)
    compiled = _compiled(onnx_session.whole_model(path), held, PERF_COUNT=True)
    request = compiled.create_infer_request()
    for _ in range(WARMUP_CALLS):
        request.infer([x.numpy()])
    warm = _sums(request, WARMUP_CALLS)
    for _ in range(calls):
        request.infer([x.numpy()])
    found = _sums(request, WARMUP_CALLS + calls)
    times: dict[tuple[str, str], float] = {}
    for key, us in found.items():
        since = (us - warm.get(key, 0.0)) / calls
        times[key] = since if since > 0 else max(us / (WARMUP_CALLS + calls), _BELOW_COUNTING)
    events: list[Event] = []
    now = 0.0
    for _ in range(calls):
        for (kind, name), us in times.items():
            event = Event(operator=kind, name=name, start_us=now, duration_us=us, own_us=us)
            events.append(event)
            now += us
    return events


def _sums(request: Any, calls: int) -> dict[tuple[str, str], float]:
    """Kind and name of each operator -> its time in microseconds over all calls so far."""
    return {
        (str(each.node_type), str(each.node_name)): each.real_time.total_seconds() * 1e6 * calls
        for each in request.profiling_info
        if str(each.status).endswith("EXECUTED")
    }


_BELOW_COUNTING = 0.5
"""Microseconds of an operator that is too fast for OpenVINO, which counts whole ones."""


@cache
def _core() -> Any:
    """The one Core of this process, which is never given up.

    Each Core gives the thread a stack for its signal handlers, and frees that stack when the Core
    is deleted. If two Cores exist at once, the thread is left with a stack that was freed. The next
    signal then kills the process, such as the signal that a data loader's process has ended.
    """
    import openvino

    return openvino.Core()


def runs_in() -> str:
    """OpenVINO itself."""
    return NAME


def triton(precision: str) -> Platform:
    """At bf16 by Triton's OpenVINO, which can be asked for bf16 and not for fp32; else by
    onnxruntime, which computes what the file says. OpenVINO takes bf16 wherever the CPU has it.
    """
    by_onnxruntime = onnx.triton(precision)
    if precision in _TRITON_HINTS:
        return replace(
            by_onnxruntime, backend=NAME, platform=None, parameters=_TRITON_HINTS[precision]
        )
    note = "onnxruntime runs it: Triton's OpenVINO backend may turn fp32 into bf16"
    return replace(by_onnxruntime, note=note)


def open_taps(artifact: Artifact, program: ProgramFile, wrappers: int) -> Taps:
    """Values at the end of the graph's first part, compiled by OpenVINO by itself."""
    from compile.backends.onnx_taps import OnnxPrefixes

    model = onnx_session.whole_model(artifact.files[program.file].path)
    precision = artifact.manifest["precision"]
    return OnnxPrefixes(model, wrappers, lambda part: session(part, precision))


def constants(path: str, program: ProgramFile) -> Iterator[torch.Tensor]:
    """The graph's initializers, int8 or floating point."""
    return onnx.constants(path, program)
