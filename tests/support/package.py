"""What is installed of zoo-run and its library: CMake, and programs that get no environment."""

from __future__ import annotations

import io
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compile.runner import capabilities
from tests.support import tiny_onnx
from tests.support.runner import golden_input, weights, write_artifact


def cmake(*arguments: object) -> None:
    """Run cmake, which must succeed. Without one the test is skipped."""
    program = shutil.which("cmake")
    if program is None:
        pytest.skip("no cmake here: apt-get install cmake")
    command = [program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def call(program: Path, *arguments: object, given: bytes = b"", **environment: str) -> Any:
    """Run a program that has nothing of this one's environment."""
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, check=False, env=environment)


class _Tiny(nn.Module):
    """`flatten(x) @ weights()`; of bytes, `flatten(x) / 255`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        return (x if x.is_floating_point() else x / 255) @ weights()


def torchscript(folder: Path, *, byte_input: bool = False, **changes: Any) -> Path:
    """Write an artifact of three classes whose program is TorchScript."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.trace(_Tiny(), golden_input(byte_input)), content)
    programs = [{"file": "model.ts", "batch": [1, 64], "entry": None}]
    files = {"model.ts": content.getvalue()}
    changes |= {"backend": "torchscript", "byte_input": byte_input}
    return write_artifact(folder, files, programs, **changes)


def tiny(backend: str, folder: Path, runner: Path) -> Path:
    """Write an artifact of three classes, for a backend whose files can be written by hand."""
    if backend not in {engine["backend"] for engine in capabilities(runner)["engines"]}:
        pytest.skip(f"this zoo-run has no engine for {backend}")
    if backend == "torchscript":
        return torchscript(folder)
    return tiny_onnx.artifact(folder, backend=backend)
