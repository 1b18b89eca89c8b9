"""What the TensorRT backend says of machines that cannot build for it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from compile.backends import nvidia, tensorrt, tensorrt_plan


class Driver:
    """libcuda.so.1 with `count` GPUs."""

    def __init__(self, count: int, status: int = 0) -> None:
        self.count, self.status = count, status

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDeviceGetCount(self, pointer: Any) -> int:
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = self.count
        return 0


def pretend(
    monkeypatch: pytest.MonkeyPatch, *, driver: Driver | None, torch_cuda: bool, packages: bool
) -> None:
    """Put a machine together for `missing`."""

    def library(name: str) -> Driver:
        assert name == "libcuda.so.1"
        if driver is None:
            raise OSError(name)
        return driver

    monkeypatch.setattr(nvidia.ctypes, "CDLL", library)
    monkeypatch.setattr(nvidia, "_installed", lambda name: packages)
    if torch_cuda:
        monkeypatch.setattr(nvidia, "_torch_fault", lambda: None)


def test_nothing_is_missing_on_a_complete_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, driver=Driver(1), torch_cuda=True, packages=True)
    assert tensorrt.missing("cuda", "fp16") is None


@pytest.mark.parametrize(
    ("driver", "torch_cuda", "packages", "named"),
    [
        (None, True, True, ["libcuda.so.1"]),
        (Driver(0), True, True, ["sees none"]),
        (Driver(1, status=100), True, True, ["code 100"]),
        (Driver(1), True, False, ["torch_tensorrt, tensorrt"]),
        (None, True, False, ["NVIDIA driver", "torch_tensorrt", "tensorrt"]),
    ],
)
def test_all_that_is_missing_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch,
    driver: Driver | None,
    torch_cuda: bool,
    packages: bool,
    named: list[str],
) -> None:
    pretend(monkeypatch, driver=driver, torch_cuda=torch_cuda, packages=packages)
    reason = tensorrt.missing("cuda", "fp16")
    assert reason is not None and "\n" not in reason
    assert ("pip install" in reason) is not packages
    found = reason.partition("missing here: ")[2]
    assert all(name in found for name in named)


def test_another_device_is_refused() -> None:
    assert "--device cuda" in str(tensorrt.missing("cpu", "fp16"))
    assert "--device cuda" in str(tensorrt_plan.missing("cpu", "fp16"))


def test_a_plan_needs_no_torch_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, driver=Driver(1), torch_cuda=True, packages=False)
    found = str(tensorrt_plan.missing("cuda", "fp16")).partition("missing here: ")[2]
    assert found == "tensorrt, onnx, onnxscript: pip install tensorrt onnx onnxscript"


def test_a_cpu_build_of_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, driver=Driver(1), torch_cuda=False, packages=True)
    has_cuda = (Path(torch.__file__).parent / "lib" / "libtorch_cuda.so").exists()
    reason = tensorrt.missing("cuda", "fp16")
    named = "missing here: CUDA build of torch: pip install --force-reinstall torch=="
    assert reason is None if has_cuda else named in str(reason)


def test_missing_answers_without_importing_torch() -> None:
    code = (
        "import sys; from compile.backends import tensorrt, tensorrt_plan;"
        "tensorrt.missing('cuda', 'fp16'); tensorrt_plan.missing('cuda', 'fp16');"
        "heavy = ('torch', 'torch_tensorrt', 'tensorrt', 'onnx', 'numpy');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
