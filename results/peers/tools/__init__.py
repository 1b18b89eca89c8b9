"""The other tools, each in a file. They run in environments of their own, without torch or zoo."""

from __future__ import annotations

from importlib import import_module
from typing import Any

MODULES = ("openvino", "onnxruntime", "mnn", "tvm", "zentorch", "planted")
"""The files of this folder. `planted` is for the tests: slow or wrong, as it is asked."""


def tool(name: str) -> Any:
    """The module of a tool: `Opened(task)` loads a model. ImportError if it is not installed."""
    if name not in MODULES:
        raise ValueError(f"no tool '{name}'; choose one of: {', '.join(MODULES)}")
    return import_module(f"results.peers.tools.{name}")
