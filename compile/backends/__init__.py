"""The backends by name. To add one: one file in this folder, one row here."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from compile.backends.base import Backend
from compile.errors import UsageError

BACKENDS = {
    "torchscript": "compile.backends.torchscript",
    "inductor": "compile.backends.inductor",
    "onnx": "compile.backends.onnx",
    "tensorrt": "compile.backends.tensorrt",
}


def backend(name: str) -> Backend:
    """Return the backend called `name`; an unknown name is a UsageError that lists the known."""
    if name not in BACKENDS:
        raise UsageError(f"unknown backend '{name}'; choose one of: all, {', '.join(BACKENDS)}")
    return cast(Backend, import_module(BACKENDS[name]))
