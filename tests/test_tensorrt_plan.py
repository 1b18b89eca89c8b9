"""TensorRT plans against a stand-in for NVIDIA's package; the real one needs a GPU."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from compile.artifact.programs import ProgramFile
from compile.backends import tensorrt_plan
from compile.backends.onnx import export
from compile.errors import BadArtifact, CheckFailed, Unavailable
from compile.network.prepare import Cast, cast
from compile.spec import CompileSpec
from tests.support.quantized import SHAPE, QuantizedNet
from tests.support.tensorrt import CLASSES, TABLE, FakeTensorRT, ParserError, logged, shown

PROGRAM = ProgramFile(file="model.plan", batch=(1, 8))


class Network(nn.Module):
    """(N, 3, 8, 8) -> (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv2d(3, 5, 3), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


@cache
def exported(name: str, dtype: torch.dtype, batch: tuple[int, int]) -> Any:
    """The graph of a module of this file; the exporter takes a second, so once for all tests."""
    module: nn.Module = {"Network": Network, "QuantizedNet": QuantizedNet}[name]().eval()
    precision = "bf16" if dtype == torch.bfloat16 else "fp32"
    return export(
        module if dtype == torch.float32 else Cast(module, dtype),
        CompileSpec(shape=SHAPE, batch=batch, precision=precision),
    )


def remembered(module: nn.Module, spec: CompileSpec) -> Any:
    name = type(module.module if isinstance(module, Cast) else module).__name__
    return exported(name, next(module.parameters()).dtype, spec.batch)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> FakeTensorRT:
    module = FakeTensorRT()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(tensorrt_plan, "export", remembered)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    stream = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    return module


def spec_of(precision: str = "fp32", batch: tuple[int, int] = (1, 8)) -> CompileSpec:
    return CompileSpec(shape=SHAPE, batch=batch, precision=precision)


def module_for(precision: str) -> nn.Module:
    """What `build` is given at a precision."""
    if precision in ("int8", "fp8"):
        return QuantizedNet().eval()
    return cast(Network().eval(), "fp32" if precision == "tf32" else precision)


@pytest.mark.parametrize("kind", CLASSES)
def test_the_stand_in_has_nothing_that_tensorrt_lacks(kind: type) -> None:
    used = {name for name in vars(kind) if not name.startswith("_")}
    assert used and used <= {*TABLE["names"][kind.__name__], "Severity"}
    assert TABLE["versions"] == ["10.15.1.29", "10.16.1.11", "11.0.0.114"]
    assert "FP16" not in TABLE["names"]["BuilderFlag"]  # 10.x has it, 11 does not


# What is built


@pytest.mark.parametrize("precision", tensorrt_plan.PRECISIONS["cuda"])
def test_every_precision(fake: FakeTensorRT, tmp_path: Path, precision: str) -> None:
    built = tensorrt_plan.build(module_for(precision), spec_of(precision), tmp_path)
    assert built.precision == precision
    assert fake.seen.config.get_flag(fake.BuilderFlag.TF32) is (precision == "tf32")
    onnx.checker.check_model(fake.seen.model, full_check=True)
    assert not built.runs_on_torch and built.programs == (PROGRAM,)
    assert built.requirements["load_first"] == ["libnvinfer.so.11"]
    assert built.requirements["tensorrt"] == "11.0.0.114"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "fp8"])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_plan_computes_what_the_module_does(
    fake: FakeTensorRT, tmp_path: Path, precision: str, batch: int
) -> None:
    """Through addresses, as TensorRT reads and writes; the stand-in runs the graph it was given."""
    module = module_for(precision)
    tensorrt_plan.build(module, spec_of(precision), tmp_path)
    program = tensorrt_plan.load(str(tmp_path / "model.plan"), PROGRAM, "cpu")
    x = torch.randn(batch, *SHAPE)
    with torch.no_grad():
        expected = module(x)
    limit = {"fp32": 1e-5, "fp16": 5e-3, "int8": 1e-3, "fp8": 0.2}[precision]
    torch.testing.assert_close(program(x), expected, rtol=limit, atol=limit)
    turned = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(program(turned), program(x))
    assert fake.seen.context.nvtx_verbosity is fake.ProfilingVerbosity.NONE


class Pyramid(nn.Module):
    """(N, 3, 8, 8) -> (N, 4), (N, 5, 6, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 5, 3), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.conv(x)
        return self.head(x.mean((2, 3))), x


def test_outputs_of_other_names_come_in_the_manifests_order(
    fake: FakeTensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Pyramid().eval()
    monkeypatch.setattr(tensorrt_plan, "export", export)
    tensorrt_plan.build(module, replace(spec_of(), outputs=("scores", "map")), tmp_path)
    path, x = str(tmp_path / "model.plan"), torch.randn(3, *SHAPE)
    with torch.no_grad():
        scores, maps = module(x)

    def answers(outputs: tuple[str, ...] | None) -> Any:
        program = ProgramFile(file="model.plan", batch=(1, 8), outputs=outputs)
        return tensorrt_plan.load(path, program, "cpu")(x)

    torch.testing.assert_close(answers(("map", "scores")), (maps, scores))
    torch.testing.assert_close(answers(None), (scores, maps))
    with pytest.raises(BadArtifact, match="has the outputs scores, map, and the manifest names lo"):
        answers(("logits",))


def test_the_precision_is_the_graphs(fake: FakeTensorRT, tmp_path: Path) -> None:
    assert tensorrt_plan.build(module_for("fp16"), spec_of("bf16"), tmp_path).precision == "fp16"
    assert tensorrt_plan.build(module_for("fp32"), spec_of("int8"), tmp_path).precision == "fp32"


def test_the_graph_is_exported_on_the_cpu() -> None:
    """Whatever device the plan is for: the exporter has no need of a GPU."""
    spec = CompileSpec(shape=SHAPE, batch=(1, 8), device="cuda")
    model = export(Network().eval(), spec)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_a_range_of_batches(fake: FakeTensorRT, tmp_path: Path) -> None:
    tensorrt_plan.build(Network().eval(), spec_of(), tmp_path)
    assert fake.seen.config._profiles == [{"input": ((1, *SHAPE), (8, *SHAPE), (8, *SHAPE))}]
    tensorrt_plan.build(Network().eval(), spec_of(batch=(4, 4)), tmp_path)
    assert fake.seen.config._profiles == []
    given = fake.seen.model.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_value for size in given] == [4, *SHAPE]


@pytest.mark.parametrize("version", TABLE["versions"])
def test_networks_are_strongly_typed(fake: FakeTensorRT, tmp_path: Path, version: str) -> None:
    fake.__version__ = version
    built = tensorrt_plan.build(Network().eval(), spec_of(), tmp_path)
    typed = 1 << fake.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert fake.seen.flags == (typed if version.startswith("10") else 0)
    assert built.requirements["load_first"] == [f"libnvinfer.so.{version[:2]}"]


def test_limits(fake: FakeTensorRT, tmp_path: Path) -> None:
    tensorrt_plan.build(Network().eval(), spec_of(), tmp_path)
    config = fake.seen.config
    assert config._pools == {"WORKSPACE": 2**31}
    assert config.builder_optimization_level == 3
    assert config.profiling_verbosity is fake.ProfilingVerbosity.DETAILED
    assert config.hardware_compatibility_level is None
    assert not config.get_flag(fake.BuilderFlag.VERSION_COMPATIBLE)


def test_a_portable_plan(fake: FakeTensorRT, tmp_path: Path) -> None:
    fake.inspector = None
    spec = replace(spec_of(), portable=True)
    built = tensorrt_plan.build(Network().eval(), spec, tmp_path)
    config = fake.seen.config
    assert config.get_flag(fake.BuilderFlag.VERSION_COMPATIBLE)
    assert not config.get_flag(fake.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    assert config.hardware_compatibility_level is fake.HardwareCompatibilityLevel.AMPERE_PLUS
    assert built.requirements["gpu_arch"] == "sm_80+"
    assert built.requirements["tensorrt"] == "11.0.0.114+"
    tensorrt_plan.load(str(tmp_path / "model.plan"), PROGRAM, "cpu")
    assert fake.seen.runtime.engine_host_code_allowed is True


def test_timings_are_kept(fake: FakeTensorRT, tmp_path: Path) -> None:
    for expected in (b"timed ", b"timed timed "):
        tensorrt_plan.build(Network().eval(), spec_of(), tmp_path)
        (kept,) = Path(os.environ["XDG_CACHE_HOME"]).rglob("*.bin")
        assert kept.read_bytes() == expected
    fake.foreign = expected
    tensorrt_plan.build(Network().eval(), spec_of(), tmp_path)
    assert kept.read_bytes() == b"timed "


# What the engine shows


def test_an_engine_of_another_type_is_refused(fake: FakeTensorRT, tmp_path: Path) -> None:
    """Whether the inspector shows it, or only the builder's log."""
    for fake.inspector, fake.logged in (
        (shown("CaskConvolution", DataType="Float"), ""),
        ("{}", logged("correlation", "Float")),
    ):
        with pytest.raises(CheckFailed, match="graph is int8, TensorRT's engine multiplies fp32"):
            tensorrt_plan.build(module_for("int8"), spec_of("int8"), tmp_path)
        assert not list(tmp_path.iterdir())


# What can go wrong


def refusal(kind: type[Exception], tmp_path: Path) -> str:
    with pytest.raises(kind) as error:
        tensorrt_plan.build(Network().eval(), spec_of(), tmp_path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_graph_that_cannot_be_read(fake: FakeTensorRT, tmp_path: Path) -> None:
    fake.errors = [ParserError()]
    reason = refusal(CheckFailed, tmp_path)
    assert "node 'node_conv2d' (Conv)" in reason and reason.endswith("weight is not a constant")
    fake.errors = []
    assert "does not say why" in refusal(CheckFailed, tmp_path)


def test_an_engine_that_is_not_built_or_loaded(fake: FakeTensorRT, tmp_path: Path) -> None:
    """Errors of steps that did not fail are no reason: those of the timings, and of the build."""
    fake.noise = "an error that ended nothing"
    fake.builds = False
    assert "no kernel for node_conv2d" in refusal(CheckFailed, tmp_path)
    fake.builds, fake.loads = True, False
    assert "another version" in refusal(CheckFailed, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_plan_that_does_not_fit_here(fake: FakeTensorRT, tmp_path: Path) -> None:
    tensorrt_plan.build(Network().eval(), spec_of(), tmp_path)
    path = str(tmp_path / "model.plan")
    program = tensorrt_plan.load(path, PROGRAM, "cpu")
    with pytest.raises(RuntimeError, match=r"refuses the shape \(65, 3, 8, 8\)"):
        program(torch.zeros(65, *SHAPE))
    fake.works = False
    program = tensorrt_plan.load(path, PROGRAM, "cpu")
    with pytest.raises(RuntimeError, match=r"did not run: out of memory$"):
        program(torch.zeros(1, *SHAPE))
    fake.loads = False
    with pytest.raises(BadArtifact, match=r"TensorRT 11\.0\.0\.114 cannot load.*another version"):
        tensorrt_plan.load(path, PROGRAM, "cpu")


def test_a_failing_import_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("raise FileNotFoundError('libnvinfer.so.11\\n paths')\n")
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert "libnvinfer.so.11; try `pip install" in refusal(Unavailable, tmp_path)


def test_a_plan_hides_its_weights() -> None:
    with pytest.raises(Unavailable, match="does not show its weights"):
        tensorrt_plan.constants("model.plan", PROGRAM)
