"""A stand-in for torch_tensorrt, and what the tests give it to build."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch._dynamo  # looks for every known package by name, so before any stand-in
from torch import fx, nn

from compile.spec import CompileSpec


class Network(nn.Module):
    """(N, 3, 8, 8) -> (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.head = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


class FakeTorchTensorRT(ModuleType):
    """Records what it is given; its `compile` wraps the exported graph as one engine."""

    def __init__(self) -> None:
        super().__init__("torch_tensorrt")
        self.ENABLED_FEATURES = SimpleNamespace(torch_tensorrt_runtime=True)
        self.dynamo = SimpleNamespace(compile=self.compile)
        self.calls: list[dict[str, Any]] = []
        self.child = "_run_on_acc_0"
        self.tail: Any = None
        self.guards = False
        self.tf32: bool | None = None

    def Input(self, **kwargs: Any) -> dict[str, Any]:
        return kwargs

    def compile(self, exported: Any, **kwargs: Any) -> fx.GraphModule:
        self.calls.append({"exported": exported, **kwargs})
        timings = Path(kwargs["timing_cache_path"])
        timings.write_bytes((timings.read_bytes() if timings.exists() else b"") + b"timed ")
        root = nn.Module()
        engine = exported.module(check_guards=self.guards)
        engine._forward_pre_hooks.clear()  # a partitioned graph has none of these
        disabled = kwargs["disable_tf32"] if self.tf32 is None else not self.tf32
        engine.settings = SimpleNamespace(disable_tf32=disabled)
        root.add_module(self.child, engine)
        graph = fx.Graph()
        out = graph.call_module(self.child, (graph.placeholder("x"),))
        if self.tail is not None:
            out = graph.call_function(self.tail, (out,))
        graph.output(out)
        return fx.GraphModule(root, graph)


def spec_of(batch: tuple[int, int] = (1, 1), precision: str = "fp32") -> CompileSpec:
    """A request on the CPU, where the stand-in runs."""
    return CompileSpec(shape=(3, 8, 8), batch=batch, precision=precision, device="cpu")
