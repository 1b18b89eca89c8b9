"""The backends by name. To add one: one file in this folder, one row here."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from compile.backends.base import Backend
from compile.errors import Unavailable, UsageError

BACKENDS = {
    "eager": "compile.backends.eager",
    "torch-compile": "compile.backends.torch_compile",
    "torchscript": "compile.backends.torchscript",
    "inductor": "compile.backends.inductor",
    "onnx": "compile.backends.onnx",
    "openvino": "compile.backends.openvino",
    "tensorrt": "compile.backends.tensorrt",
    "tensorrt-plan": "compile.backends.tensorrt_plan",
}


def backend(name: str) -> Backend:
    """Return the backend called `name`; an unknown name is a UsageError that lists the known."""
    if name not in BACKENDS:
        raise UsageError(f"unknown backend '{name}'; choose one of: all, {', '.join(BACKENDS)}")
    return cast(Backend, import_module(BACKENDS[name]))


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
