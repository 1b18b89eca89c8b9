"""zoo doctor: from a checkout and a wheel, with each backend and without, with a GPU or none."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compile import advice, machine
from compile.backends import BACKENDS, backend, nvidia
from tests.support.layout import ROOT
from zoo.cli import _run
from zoo.cli.doctor import standing

PUBLISHED = {
    *("torch", "torch-tensorrt", "tensorrt", "torchao", "openvino"),
    *("onnx", "onnxscript", "onnxsim", "onnxruntime", "tensorrt-rtx-cu13"),
}
"""Packages that a public index has. zoo itself is not among them."""


def without(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    """Hide these modules from whoever asks whether they are installed."""
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> Any:
        return None if name in absent else real(name, package)

    for name in BACKENDS.values():
        module = sys.modules.get(name)
        if hasattr(module, "find_spec"):
            monkeypatch.setattr(module, "find_spec", find)
    monkeypatch.setattr(nvidia, "find_spec", find)


def with_gpu(monkeypatch: pytest.MonkeyPatch, *, torch_cuda: bool) -> None:
    monkeypatch.setattr(nvidia, "_driver_fault", lambda: None)
    fault = None if torch_cuda else "CUDA build of torch"
    monkeypatch.setattr(nvidia, "_torch_fault", lambda: fault)
    gpu = machine.Gpu(name="NVIDIA H200", driver="580.1", compute_capability="9.0", memory_mib="1")
    monkeypatch.setattr(machine, "gpus", lambda: [gpu])


def in_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if nothing of the checkout lay beside the packages, and there were no zoo-run."""
    monkeypatch.setattr(advice, "_ROOT", tmp_path)
    monkeypatch.setattr("compile.runner._BUILD", tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def printed(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What zoo doctor prints, in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    capfd.readouterr()
    assert _run(["doctor"]) == 0
    text = capfd.readouterr().out
    assert not [line for line in text.splitlines() if len(line) > 80 and str(ROOT) not in line]
    assert "…" not in text
    return text


def advised(text: str) -> set[str]:
    """The packages that the text says to install, without their versions."""
    lines = text.replace("\n  ", " ").splitlines()  # a line that was broken is one again
    commands = [line.partition("pip install ")[2] for line in lines]
    words = " ".join(commands).split()
    return {word.partition("==")[0] for word in words if not word.startswith("-")}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_that_lacks_nothing_needs_no_command(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in BACKENDS:
        backend(each)
    with_gpu(monkeypatch, torch_cuda=True)
    monkeypatch.setattr(nvidia, "_installed", lambda _: True)
    everything = lambda *_: object()  # noqa: E731
    for module in BACKENDS.values():
        if hasattr(sys.modules[module], "find_spec"):
            monkeypatch.setattr(sys.modules[module], "find_spec", everything)
    monkeypatch.setattr(
        "compile.backends.openvino.cpu_flags", lambda: {"avx512_bf16", "avx512_fp16"}
    )
    found = standing(name)
    assert (found.lacks, found.command) == ([], None)
    assert {key: tuple(value) for key, value in found.can.items()} == backend(name).PRECISIONS


@pytest.mark.parametrize(
    ("name", "absent", "command", "can"),
    [
        ("inductor", "torchao", "pip install torchao", {"cpu": ["fp32", "bf16"]}),
        ("onnx", "onnxsim", "pip install onnxsim", {}),
        ("onnx", "torchao", "pip install torchao", {"cpu": ["fp32", "fp16"]}),
        ("openvino", "openvino", "pip install openvino", {}),
    ],
)
def test_one_command_adds_what_is_missing(
    name: str,
    absent: str,
    command: str,
    can: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend(name)
    without(monkeypatch, absent)
    monkeypatch.setattr(nvidia, "_driver_fault", lambda: "NVIDIA driver (libcuda.so.1)")
    found = standing(name)
    assert found.command == command and found.can == can
    assert any(command in reason for reason in found.lacks)


def test_all_that_is_missing_is_in_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    backend("openvino")
    without(monkeypatch, "openvino", "onnxsim", "torchao")
    assert standing("openvino").command == "pip install openvino onnxsim torchao"


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    assert standing("torch-compile").command == "apt-get install g++"


def test_a_gpu_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "package_version", lambda _: "2.13.0")
    with_gpu(monkeypatch, torch_cuda=True)
    monkeypatch.setattr(nvidia, "_installed", lambda name: name == "tensorrt")
    assert standing("tensorrt").command == "pip install torch-tensorrt==2.13.*"
    with_gpu(monkeypatch, torch_cuda=False)
    assert standing("tensorrt").command == (
        "pip install --force-reinstall torch==2.13.0 torch-tensorrt==2.13.*"
    )
    assert standing("eager").command == "pip install --force-reinstall torch==2.13.0"
    monkeypatch.setattr(nvidia, "_driver_fault", lambda: "NVIDIA driver (libcuda.so.1)")
    assert standing("tensorrt").command is None, "no command adds a GPU"


def test_the_row_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: [])
    assert re.search(r"^gpu +none: nvidia-smi", printed(capfd, monkeypatch), re.MULTILINE)
    with_gpu(monkeypatch, torch_cuda=False)
    text = printed(capfd, monkeypatch)
    assert re.search(r"^gpu +NVIDIA H200, driver 580.1, compute capability 9.0", text, re.MULTILINE)
    assert "eager: cpu fp32, bf16; to add: pip install --force-reinstall torch==" in text


def test_gpus_are_read_from_nvidia_smi() -> None:
    says = "print('NVIDIA H200, 580.159.03, 9.0, 143771'); print('broken')"
    (gpu,) = machine.gpus((sys.executable, "-c", says))
    assert (gpu.name, gpu.driver) == ("NVIDIA H200", "580.159.03")
    assert (gpu.compute_capability, gpu.memory_mib) == ("9.0", "143771")
    assert machine.gpus((sys.executable, "-c", f"{says}; raise SystemExit(9)")) == []
    assert machine.gpus(("/no/such",)) == []


@pytest.mark.parametrize("wheel", [False, True])
def test_advice_exists_for_whoever_reads_it(
    wheel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for each in BACKENDS:
        backend(each)
    without(monkeypatch, *PUBLISHED, "torch_tensorrt")
    in_wheel(monkeypatch, tmp_path)
    if not wheel:
        monkeypatch.setattr(advice, "_ROOT", ROOT)
    text = printed(capfd, monkeypatch)
    packages = advised(text)
    assert {"onnxsim", "openvino", "torch-tensorrt"} <= packages <= PUBLISHED
    assert "just " not in text and "resnet-zoo" not in text
    flat = " ".join(text.split())
    if wheel:
        assert "installed from a wheel" in flat and "cmake" not in flat
        assert "in a checkout of zoo run `./setup runner`, and put" in flat
        assert text.endswith("next: zoo train resnet18\n")
    else:
        assert "in a checkout" in flat and "cmake" in flat
        assert text.endswith("next: ./setup runner\n")


def test_packages_that_lie_alone_are_a_wheel(tmp_path: Path) -> None:
    """The two packages as a wheel has them, in a process of their own."""
    for package in ("zoo", "compile"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "zoo", "doctor", "--json"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["checkout"] is False and report["tools"]["zoo-run"] is None
    assert set(report["tools"]) == {"g++", "zoo-run"}
    assert report["backends"]["eager"]["can"]["cpu"] == ["fp32", "bf16"]
    assert advice.in_checkout(), "these tests run in one"


def test_no_message_names_what_a_user_does_not_have() -> None:
    """The words of zoo and compile: recipes of `just`, and zoo itself as a package of an index."""
    for package in ("zoo", "compile"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            assert "resnet-zoo[" not in text, path
            assert "`just " not in text, path
