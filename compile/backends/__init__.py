"""The backends by name. To add one: one file in this folder, one row here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from compile.backends.base import Backend
from compile.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from compile.artifact.triton import Platform

BACKENDS = {
    "eager": "compile.backends.eager",
    "torch-compile": "compile.backends.torch_compile",
    "torchscript": "compile.backends.torchscript",
    "inductor": "compile.backends.inductor",
    "onnx": "compile.backends.onnx",
    "openvino": "compile.backends.openvino",
    "tensorrt": "compile.backends.tensorrt",
    "tensorrt-plan": "compile.backends.tensorrt_plan",
    "tensorrt-rtx": "compile.backends.tensorrt_rtx",
}

DEFAULT = "inductor"
"""The one that `zoo compile` takes where none is named."""


def backend(name: str) -> Backend:
    """Return the backend called `name`; an unknown name is a UsageError that lists the known."""
    if name not in BACKENDS:
        raise UsageError(f"unknown backend '{name}'; choose one of: all, {', '.join(BACKENDS)}")
    return Backend.of(import_module(BACKENDS[name]))


def backend_of(manifest: dict[str, Any], where: object) -> Backend:
    """Return the backend of the artifact `where`; Unavailable if this zoo does not have it."""
    name = manifest["backend"]
    if name not in BACKENDS:
        raise Unavailable(f"{where} needs the backend {name!r}; here are: {', '.join(BACKENDS)}")
    return backend(name)


def choose(name: str, precision: str, device: str) -> Backend:
    """Return the backend, or say in one line why it cannot serve this on this machine.

    Answers before torch is imported, so that asking for what is not here costs no time.
    """
    chosen = backend(name)
    if device not in chosen.PRECISIONS:
        known = ", ".join(chosen.PRECISIONS)
        raise UsageError(f"{name} does not build for '{device}'; it builds for: {known}")
    if precision not in chosen.PRECISIONS[device]:
        known = ", ".join(chosen.PRECISIONS[device])
        raise UsageError(f"{name} has no precision '{precision}' on {device}; it has: {known}")
    reason = chosen.missing(device, precision)
    if reason is not None:
        raise Unavailable(f"{name} {reason}")
    return chosen


def check_portable(names: list[str]) -> None:
    """Raise UsageError if none of the backends `names` builds portable files."""
    if not any(backend(name).PORTABLE for name in names):
        known = " and ".join(name for name in BACKENDS if backend(name).PORTABLE)
        raise UsageError(f"--portable is for the backends {known}")


def check_gpus(name: str, precision: str, gpus: Sequence[str]) -> None:
    """Raise UsageError unless the backend `name` builds for GPUs by name, and for these."""
    known = backend(name).GPUS
    if not known and gpus:
        those = " and ".join(each for each in BACKENDS if backend(each).GPUS)
        raise UsageError(f"--gpu is for the backend {those}; leave it out")
    if known and not gpus:
        raise UsageError(
            f"{name} builds for GPUs by name: give --gpu, one or several of "
            f"{', '.join(known[precision])}, such as --gpu {known[precision][-1]}"
        )
    wrong = [gpu for gpu in gpus if gpu not in known[precision]]
    if wrong:
        raise UsageError(
            f"{name} builds no {precision} for {', '.join(wrong)}; "
            f"it builds it for: {', '.join(known[precision])}"
        )


def triton_platform(manifest: dict[str, Any], where: object) -> Platform:
    """Return how a Triton server runs the artifact `where`; UsageError if it cannot.

    Raises Unavailable for a backend that this zoo does not have.
    """
    from compile.artifact.triton import widest

    chosen, precision = backend_of(manifest, where), manifest["precision"]
    platform, suffix = chosen.triton(precision), PurePath(widest(manifest)["file"]).suffix
    if platform is None or platform.reads != suffix:
        served = ", ".join(name for name in BACKENDS if backend(name).triton(precision))
        raise UsageError(
            f"Triton has nothing that runs a {suffix or 'bare'} file of {chosen.NAME}; "
            f"export an artifact of one of: {served}"
        )
    return platform
