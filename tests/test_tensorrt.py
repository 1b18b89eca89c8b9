"""The TensorRT backend against a stand-in for torch_tensorrt; the real one needs a GPU."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from compile.artifact.programs import ProgramFile
from compile.backends import backend, tensorrt
from compile.errors import BadArtifact, CheckFailed, Unavailable
from compile.network.prepare import cast
from compile.precision import PRECISIONS
from compile.spec import CompileSpec
from tests.support.torch_tensorrt import FakeTorchTensorRT, Network, spec_of

KEYWORDS = json.loads(
    Path(__file__).with_name("data").joinpath("torch_tensorrt_keywords.json").read_text()
)
"""Parameter names of torch_tensorrt.dynamo.compile per version, read from its source."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Any:
    module = FakeTorchTensorRT()
    library = ModuleType("tensorrt")
    library.__version__ = "11.0.0.114"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_tensorrt", module)
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    return module


# Options


@pytest.mark.parametrize("version", KEYWORDS)
def test_every_keyword_exists_in_every_version(
    fake: FakeTorchTensorRT, tmp_path: Path, version: str
) -> None:
    tensorrt.build(Network().eval(), spec_of(), tmp_path)
    used = set(fake.calls[0]) - {"exported"}
    assert {*tensorrt.OPTIONS, "disable_tf32", "hardware_compatible", "timing_cache_path"} < used
    assert used - set(KEYWORDS[version]) == set()


def test_the_table_knows_what_2_13_dropped() -> None:
    """A keyword that one version lacks would be found."""
    assert "use_explicit_typing" in KEYWORDS["2.12.0"]
    assert "use_explicit_typing" not in KEYWORDS["2.13.0"]


@pytest.mark.skipif(find_spec("torch_tensorrt") is None, reason="torch_tensorrt is not installed")
@pytest.mark.gpu
def test_every_keyword_exists_in_the_installed_version() -> None:
    import torch_tensorrt

    known = inspect.signature(torch_tensorrt.dynamo.compile).parameters
    assert set(tensorrt.OPTIONS) - set(known) == set()


def test_a_static_build(fake: FakeTorchTensorRT, tmp_path: Path) -> None:
    tensorrt.build(Network().eval(), spec_of(batch=(4, 4)), tmp_path)
    call = fake.calls[0]
    assert call["inputs"] == [{"shape": (4, 3, 8, 8), "dtype": torch.float32}]
    assert call["disable_tf32"] is True and call["min_block_size"] == 1
    assert call["immutable_weights"] is True and call["cache_built_engines"] is False
    assert call["hardware_compatible"] is False and call["version_compatible"] is False
    assert call["workspace_size"] == 2**31
    assert call["exported"].range_constraints == {}


def test_a_range_of_batches(fake: FakeTorchTensorRT, tmp_path: Path) -> None:
    built = tensorrt.build(Network().eval(), spec_of(batch=(1, 8)), tmp_path)
    call = fake.calls[0]
    shapes = {"min_shape": (1, 3, 8, 8), "opt_shape": (8, 3, 8, 8), "max_shape": (8, 3, 8, 8)}
    assert call["inputs"] == [{**shapes, "dtype": torch.float32}]
    (limits,) = call["exported"].range_constraints.values()
    assert (int(limits.lower), int(limits.upper)) == (1, 8)
    assert built.programs[0].batch == (1, 8)


def test_the_graph_is_exported_at_the_batch_to_tune_for(
    fake: FakeTorchTensorRT, tmp_path: Path
) -> None:
    tensorrt.build(Network().eval(), spec_of(batch=(1, 8)), tmp_path)
    exported = fake.calls[0]["exported"]
    (x,) = [n for n in exported.graph.nodes if n.name == "x"]
    assert x.meta["val"].shape[0].node.hint == 8


@pytest.mark.parametrize("precision", tensorrt.PRECISIONS["cuda"])
def test_precision_lies_in_the_graph(
    fake: FakeTorchTensorRT, tmp_path: Path, precision: str
) -> None:
    dtype = "fp32" if precision == "tf32" else precision
    module = cast(Network().eval(), dtype)
    built = tensorrt.build(module, spec_of(precision=precision), tmp_path)
    dtypes = {value.dtype for value in fake.calls[0]["exported"].state_dict.values()}
    assert dtypes == {getattr(torch, PRECISIONS[dtype].dtype)}
    assert fake.calls[0]["disable_tf32"] is (precision != "tf32")
    assert built.precision == precision


def test_tf32_is_read_from_the_engines(fake: FakeTorchTensorRT, tmp_path: Path) -> None:
    fake.tf32 = False
    assert tensorrt.build(Network().eval(), spec_of(precision="tf32"), tmp_path).precision == "fp32"
    fake.tf32 = True
    assert tensorrt.build(Network().eval(), spec_of(precision="fp32"), tmp_path).precision == "tf32"
    with pytest.raises(CheckFailed, match="1 of 1 engines of bf16"):
        tensorrt.build(cast(Network().eval(), "bf16"), spec_of(precision="bf16"), tmp_path)


def test_a_module_that_takes_bytes(fake: FakeTorchTensorRT, tmp_path: Path) -> None:
    """The input's dtype and layout are the request's, not float32 NCHW by name."""

    class Bytes(CompileSpec):
        def example(self, seed: int = 0) -> torch.Tensor:
            size = min(self.batch[1], 2)
            return torch.randint(0, 256, (size, 8, 8, 3), dtype=torch.uint8)

    class FromBytes(Network):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.permute(0, 3, 1, 2).float() / 255)

    tensorrt.build(FromBytes().eval(), Bytes(shape=(3, 8, 8), batch=(1, 8)), tmp_path)
    (given,) = fake.calls[0]["inputs"]
    assert given["max_shape"] == (8, 8, 8, 3) and given["dtype"] == torch.uint8


def test_the_next_build_knows_the_timings_of_the_last(
    fake: FakeTorchTensorRT, tmp_path: Path
) -> None:
    for _ in range(2):
        tensorrt.build(Network().eval(), spec_of(), tmp_path)
    (kept,) = Path(os.environ["XDG_CACHE_HOME"]).rglob("*.bin")
    assert kept.read_bytes() == b"timed timed "


def test_a_portable_engine(fake: FakeTorchTensorRT, tmp_path: Path) -> None:
    spec = replace(spec_of(), portable=True)
    built = tensorrt.build(Network().eval(), spec, tmp_path)
    assert fake.calls[0]["hardware_compatible"] is True
    assert fake.calls[0]["version_compatible"] is False
    assert built.requirements["gpu_arch"] == "sm_80+"
    assert built.requirements["tensorrt"] == "11.0.0.114"


def test_the_precision_reported_is_the_graphs(fake: FakeTorchTensorRT, tmp_path: Path) -> None:
    built = tensorrt.build(cast(Network().eval(), "bf16"), spec_of(precision="fp32"), tmp_path)
    assert built.precision == "bf16"


# What is built


@pytest.mark.parametrize("guards", [False, True])
def test_the_file_computes_what_the_module_does(
    fake: FakeTorchTensorRT, tmp_path: Path, guards: bool
) -> None:
    fake.guards = guards
    module = Network().eval()
    built = tensorrt.build(module, spec_of(batch=(1, 8)), tmp_path)
    program = tensorrt.load(str(tmp_path / "model.ts"), built.programs[0], "cpu")
    x = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(program(x), module(x))


@pytest.mark.parametrize(
    ("version", "major"), [("10.15.1.29", "10"), ("10.16.1", "10"), ("11.0.0.114", "11")]
)
def test_requirements(
    fake: FakeTorchTensorRT,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    version: str,
    major: str,
) -> None:
    monkeypatch.setattr(sys.modules["tensorrt"], "__version__", version)
    built = tensorrt.build(Network().eval(), spec_of(), tmp_path)
    assert built.requirements == {
        "gpu_arch": "sm_90",
        "cuda": "13.2",
        "tensorrt": version,
        "load_first": [
            f"libnvinfer.so.{major}",
            f"libnvinfer_plugin.so.{major}",
            "libtorchtrt_runtime.so",
        ],
    }
    assert built.runs_on_torch and not backend(tensorrt.NAME).MACHINE_CODE


def test_a_graph_without_engines_is_refused(fake: FakeTorchTensorRT, tmp_path: Path) -> None:
    fake.child = "_run_on_gpu_0"
    with pytest.raises(CheckFailed, match="took no operator"):
        tensorrt.build(Network().eval(), spec_of(), tmp_path)


def test_operators_left_in_torch_are_reported(
    fake: FakeTorchTensorRT, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    tensorrt.build(Network().eval(), spec_of(), tmp_path)
    assert caplog.text == ""
    fake.tail = torch.ops.aten.sin.default
    tensorrt.build(Network().eval(), spec_of(), tmp_path)
    assert "1 operators stay in torch: aten.sin.default" in caplog.text


def test_the_check_of_sizes_is_no_operator() -> None:
    exported = torch.export.export(Network().eval(), (torch.randn(1, 3, 8, 8),))
    engines, left = tensorrt._partition(exported.module())
    assert engines == 0 and left
    assert not [name for name in left if "guards" in name]


def test_operators_left_in_torch_forbid_a_range(fake: FakeTorchTensorRT, tmp_path: Path) -> None:
    fake.tail = torch.ops.aten.sin.default
    with pytest.raises(CheckFailed, match=r"aten\.sin\.default to torch.*--batch 8"):
        tensorrt.build(Network().eval(), spec_of(batch=(1, 8)), tmp_path)


# What can go wrong


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A torch_tensorrt that prints and raises as the real one does without libnvinfer."""
    (tmp_path / "torch_tensorrt.py").write_text(
        "print('import error')\nraise Exception('Could not find libnvinfer.so.11\\n  paths')\n"
    )
    monkeypatch.delitem(sys.modules, "torch_tensorrt", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("torch_tensorrt", None)


@pytest.mark.usefixtures("broken")
def test_a_failing_import_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = ProgramFile(file="model.ts", batch=(1, 1))
    for attempt in (
        lambda: tensorrt.build(Network().eval(), spec_of(), tmp_path),
        lambda: tensorrt.load("model.ts", program, "cuda"),
    ):
        with pytest.raises(Unavailable, match=r"libnvinfer\.so\.11; try `pip install") as error:
            attempt()
        assert "\n" not in str(error.value)
    assert capfd.readouterr().out == ""


def test_a_build_without_the_cpp_runtime_is_refused(
    fake: FakeTorchTensorRT, tmp_path: Path
) -> None:
    fake.ENABLED_FEATURES.torch_tensorrt_runtime = False
    with pytest.raises(Unavailable, match="no C\\+\\+ runtime"):
        tensorrt.build(Network().eval(), spec_of(), tmp_path)


def test_a_file_that_does_not_load_is_a_bad_artifact(
    fake: FakeTorchTensorRT, tmp_path: Path
) -> None:
    path = tmp_path / "model.ts"
    path.write_bytes(b"not a zip")
    with pytest.raises(BadArtifact, match="cannot load the file here") as error:
        tensorrt.load(str(path), ProgramFile(file="model.ts", batch=(1, 1)), "cpu")
    assert "\n" not in str(error.value)


def test_an_engine_hides_its_weights() -> None:
    with pytest.raises(Unavailable, match="does not show its weights"):
        tensorrt.constants("model.ts", ProgramFile(file="model.ts", batch=(1, 1)))
