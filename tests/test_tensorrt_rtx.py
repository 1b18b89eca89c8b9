"""Engines for GPUs that are not here: built, pending, and proved where such a GPU is."""

from __future__ import annotations

import ctypes
import json
import sys
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from compile.api import compile_module, load
from compile.backends import check_gpus, tensorrt_rtx
from compile.backends.base import Built
from compile.backends.tensorrt_rtx import GPUS, PRECISIONS
from compile.errors import BadArtifact, CheckFailed, Unavailable, UsageError
from compile.page.naming import name_of_manifest, task_of
from compile.proof.check import check_artifact
from compile.proof.pending import runs_here
from compile.spec import CompileSpec, parse_gpus
from tests.support.networks import SHAPE, small_net, small_prepared
from tests.support.tensorrt import (
    Builder,
    FakeTensorRT,
    IBuilderConfig,
    IExecutionContext,
    ILogger,
    logged,
)
from tests.test_pending import Gpu, stand_in_gpu
from tests.test_tensorrt_plan import module_for
from zoo.cli import _run
from zoo.cli.labels import traits

TWO = ("sm_89", "sm_120")
MEMBERS = [gpu.upper().replace("_", "") for gpu in GPUS["fp16"]]
SPEC = CompileSpec(shape=SHAPE, batch=(1, 8), device="cuda", gpus=TWO)


class RtxConfig(IBuilderConfig):
    """What only this builder's config has."""

    num_compute_capabilities: Any = 0
    takes = True

    def set_compute_capability(self, capability: Any, index: int) -> bool:
        self._gpus = {**getattr(self, "_gpus", {}), index: capability.name}
        return self.takes


class RtxBuilder(Builder):
    def create_builder_config(self) -> IBuilderConfig:
        made = super().create_builder_config()
        config = RtxConfig(made._flags, made._foreign)
        self._trt.seen.config = config
        return config


class FakeRtx(FakeTensorRT):
    """TensorRT for RTX. Its runtime is refused until `may_run`: there is no GPU."""

    def __init__(self) -> None:
        super().__init__("1.7.1.116")
        self.ComputeCapability = IntEnum("ComputeCapability", MEMBERS)  # type: ignore[misc]
        self.logged = logged("correlation", "Float")
        self.may_run = False

    def Builder(self, logger: ILogger) -> Builder:
        return RtxBuilder(self, logger)

    def Runtime(self, logger: ILogger) -> Any:
        assert self.may_run, "an engine was loaded where it cannot run"
        return super().Runtime(logger)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRtx:
    module = FakeRtx()
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", module)
    return module


def put_in_gpu(fake: FakeRtx, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """A stand-in for a GPU: tensors stay where they are, and the stand-in's engine runs them."""
    real = torch.Tensor.to

    def to(self: torch.Tensor, *where: Any, **options: Any) -> torch.Tensor:
        return self if where == ("cuda",) else real(self, *where, **options)

    monkeypatch.setattr(torch.Tensor, "to", to)
    stream = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    fake.may_run = True
    return stand_in_gpu(monkeypatch)


def test_it_is_built_without_a_gpu_and_waits(fake: FakeRtx, tmp_path: Path) -> None:
    made = compile_module(small_prepared(), SPEC, backend="tensorrt-rtx", root=tmp_path)
    assert made.path.name == "tensorrt-rtx-fp32-b1-8-cuda-sm_89-sm_120"
    assert made.manifest["status"] == "pending" and made.manifest["parity"]["ran_in"] == []
    needs = made.manifest["requirements"]
    assert (needs["gpu_arch"], needs["tensorrt"], needs["torch"]) == (
        "sm_89,sm_120",
        "1.7.1.116",
        None,
    )
    config = fake.seen.config
    assert config.num_compute_capabilities == 2 and config._gpus == {0: "SM89", 1: "SM120"}
    with pytest.raises(BadArtifact, match=r"was built for sm_89, sm_120; .* on such a GPU"):
        load(made.path)
    with pytest.raises(Unavailable, match="needs an NVIDIA GPU"):
        check_artifact(made.path, None)
    again = compile_module(small_prepared(), SPEC, backend="tensorrt-rtx", root=tmp_path)
    assert not again.built


def test_a_check_on_such_a_gpu_proves_it(
    fake: FakeRtx,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = compile_module(small_prepared(), SPEC, backend="tensorrt-rtx", root=tmp_path).path
    gpu = put_in_gpu(fake, monkeypatch)
    with pytest.raises(BadArtifact, match="has not been proved"):
        load(path)
    monkeypatch.setattr("zoo.cli.check.ready_runner", lambda _given: None)
    assert _run(["check", str(path)]) == 0
    assert "pending" not in capfd.readouterr().err
    x = torch.randn(3, *SHAPE)
    torch.testing.assert_close(load(path)(x), small_net()(x), rtol=1e-4, atol=1e-5)
    for name, other in (("driver", "590.10"), ("capability", (12, 0)), ("name", "NVIDIA L40S")):
        before = getattr(gpu, name)
        setattr(gpu, name, other)
        with pytest.raises(BadArtifact, match="has not been proved"):
            load(path)
        setattr(gpu, name, before)
    gpu.capability = (9, 0)
    with pytest.raises(BadArtifact, match="this GPU is sm_90"):
        check_artifact(path, None)


def test_a_wrong_engine_gets_no_proof(
    fake: FakeRtx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = compile_module(small_prepared(), SPEC, backend="tensorrt-rtx", root=tmp_path).path
    put_in_gpu(fake, monkeypatch)
    run = IExecutionContext.execute_async_v3

    def wrong(self: IExecutionContext, stream_handle: int) -> bool:
        done = run(self, stream_handle)
        (ctypes.c_float * 1).from_address(self._addresses["logits"])[0] += 1
        return done

    monkeypatch.setattr(IExecutionContext, "execute_async_v3", wrong)
    (row,) = check_artifact(path, None)
    assert row.verdict == "FAILED" and not list(path.parent.glob("proof-*"))
    with pytest.raises(BadArtifact, match="has not been proved"):
        load(path)


def test_where_such_a_gpu_is_it_is_proved_at_once(
    fake: FakeRtx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_build = tensorrt_rtx.build

    def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Built:
        built = real_build(module, spec, folder)
        put_in_gpu(fake, monkeypatch)  # only now: the exporter would ask a real one
        return built

    monkeypatch.setattr(tensorrt_rtx, "build", build)
    made = compile_module(small_prepared(), SPEC, backend="tensorrt-rtx", root=tmp_path)
    assert made.manifest["status"] == "proved" and runs_here(made.manifest)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    assert not runs_here(made.manifest)


def test_other_precisions_than_its_graph_are_found(fake: FakeRtx, tmp_path: Path) -> None:
    fake.logged = logged("correlation", "Half")
    with pytest.raises(CheckFailed, match="graph is fp32, TensorRT's engine multiplies fp16"):
        compile_module(small_prepared(), SPEC, backend="tensorrt-rtx", root=tmp_path)
    fake.logged = ""
    with pytest.raises(CheckFailed, match="shows no layers"):
        compile_module(small_prepared(), SPEC, backend="tensorrt-rtx", root=tmp_path)


# What is asked for


@pytest.mark.parametrize(
    ("precision", "gpus", "words"),
    [
        ("fp16", ("sm_90",), "builds no fp16 for sm_90; it builds it for: sm_75, sm_80, sm_86"),
        ("fp16", ("sm_89", "sm_100"), "builds no fp16 for sm_100"),
        ("fp32", ("sm_75",), "builds no fp32 for sm_75; it builds it for: sm_80, sm_86, sm_89"),
        ("fp8", ("sm_86",), "builds no fp8 for sm_86; it builds it for: sm_89, sm_120, sm_121"),
        ("int8", (), "give --gpu, one or several of sm_80, sm_86, sm_89, sm_120, sm_121"),
    ],
)
def test_gpus_that_it_does_not_build_for(
    precision: str, gpus: tuple[str, ...], words: str, fake: FakeRtx, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        check_gpus("tensorrt-rtx", precision, gpus)
    spec = CompileSpec(shape=SHAPE, precision=precision, device="cuda", gpus=gpus)
    with pytest.raises(UsageError, match=words):
        compile_module(small_net(), spec, backend="tensorrt-rtx", root=tmp_path)


def test_other_backends_take_no_gpus() -> None:
    with pytest.raises(UsageError, match="--gpu is for the backend tensorrt-rtx; leave it out"):
        check_gpus("onnx", "fp32", TWO)


@pytest.mark.parametrize("text", ["89", "sm_8", "sm_89,", "sm_89, sm_120", "sm_80+", "hopper", ""])
def test_what_names_no_gpu(text: str) -> None:
    with pytest.raises(UsageError, match="names no GPUs; write sm_89"):
        parse_gpus(text)
    assert parse_gpus("sm_120,sm_89,sm_120") == TWO


def test_the_command(fake: FakeRtx, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["compile", "resnet20", "--fresh", "--input", "3x32x32", "--out", str(tmp_path)]
    command += ["--backend", "tensorrt-rtx"]
    for refused in (
        command,
        [*command, "--gpu", "sm_90"],
        [*command, "--gpu", "sm_89", "--device", "cpu"],
        [*command[:-1], "onnx,eager", "--gpu", "sm_89"],
    ):
        assert _run(refused) == 2, refused
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.cli.compile.ready_runner", lambda _given: None)
        assert _run([*command, "--gpu", "sm_120,sm_89", "--json", "--quiet"]) == 0
    (cell,) = json.loads(capfd.readouterr().out)["cells"]
    assert (cell["status"], cell["built_for"]) == ("pending", "sm_89, sm_120")
    manifest = json.loads((Path(cell["path"]) / "manifest.json").read_text())
    assert "--gpu sm_120,sm_89" in manifest["build"]["command"]
    name = name_of_manifest(manifest, Path("elsewhere.json"), ())
    assert name == "/".join(Path(cell["path"]).parts[-2:])
    assert task_of(name) == name.partition("/")[0]
    assert traits({name: manifest}) == {name: "sm_89-sm_120"}


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_rtx, "find_spec", lambda name: None)
    assert tensorrt_rtx.missing("cuda", "fp16") == (
        "needs tensorrt_rtx, onnx, onnxscript: pip install tensorrt-rtx-cu13 onnx onnxscript"
    )
    assert str(tensorrt_rtx.missing("cuda", "int8")).endswith(" onnx onnxscript torchao")
    assert "--device cuda" in str(tensorrt_rtx.missing("cpu", "fp16"))


def test_an_import_that_breaks_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text("raise OSError('libtensorrt_rtx.so.1\\n paths')\n")
    monkeypatch.delitem(sys.modules, "tensorrt_rtx", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        Unavailable, match=r"does not import: OSError: libtensorrt_rtx\.so\.1.*pip install"
    ):
        tensorrt_rtx.build(small_net(), SPEC, tmp_path)


# NVIDIA's own builder


def real() -> Any:
    return pytest.importorskip(
        "tensorrt_rtx", reason="no builder of TensorRT: pip install tensorrt-rtx-cu13==1.7.1.116"
    )


def test_the_gpus_are_the_library_s_own() -> None:
    known = set(real().ComputeCapability.__members__) - {"NONE", "CURRENT"}
    assert known == set(MEMBERS) and set(GPUS) == set(PRECISIONS["cuda"])


@pytest.mark.parametrize("precision", PRECISIONS["cuda"])
def test_each_precision_is_built_for_all_its_gpus(precision: str, tmp_path: Path) -> None:
    real()
    spec = CompileSpec(
        shape=(3, 8, 8), batch=(1, 8), precision=precision, device="cuda", gpus=GPUS[precision]
    )
    built = tensorrt_rtx.build(module_for(precision), spec, tmp_path)
    assert built.precision == precision and (tmp_path / "model.plan").stat().st_size > 1000
    assert built.requirements["gpu_arch"] == ",".join(GPUS[precision])


def test_a_real_engine_is_published_and_waits(tmp_path: Path) -> None:
    real()
    made = compile_module(small_prepared(), SPEC, backend="tensorrt-rtx", root=tmp_path)
    assert made.manifest["status"] == "pending"
    with pytest.raises(BadArtifact, match="has not been proved"):
        load(made.path)
