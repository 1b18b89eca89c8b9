"""What the saved file answers: ranges of batches, bytes, and networks that are no ResNet."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from compile.api import compile_module, load
from compile.artifact.reading import open_artifact
from compile.errors import BadArtifact, CheckFailed
from compile.network.oracle import oracle
from compile.proof import gates
from compile.proof.check import check_artifact
from compile.proof.images import Labelled
from compile.proof.prepared import PreparedModel
from compile.runner import run_inputs
from compile.spec import CompileSpec
from tests.support.networks import PYTHON_ONLY, SHAPE, small_net, small_prepared

RANGE = (1, 64)
LARGEST = {"eager": 64, "torchscript": 64, "inductor": 8, "onnx": 64, "openvino": 64}
"""Backend -> the largest batch of its artifact; inductor's takes longest to build, so it is the one
that all tests share."""


@pytest.fixture(scope="module")
def wide(
    built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, runner: Path
) -> dict[str, Path]:
    """Artifacts for batches of 1 to LARGEST."""
    root, prepared = tmp_path_factory.mktemp("wide"), small_prepared()
    found = {"inductor": built["inductor"]}
    for backend in ("eager", "torchscript", "onnx", "openvino"):
        spec = CompileSpec(shape=SHAPE, batch=RANGE)
        result = compile_module(prepared, spec, backend=backend, root=root, runner=runner)
        found[backend] = result.path
    return found


@pytest.mark.parametrize("backend", LARGEST)
def test_the_saved_file_answers_its_range(
    backend: str, wide: dict[str, Path], runner: Path
) -> None:
    """In Python and in zoo-run: the right numbers within it, no answer for 0 and one more."""
    run, net, beyond = load(wide[backend]), small_net(), LARGEST[backend] + 1
    for size in [size for size in (1, 2, 7, 8, 32, 64) if size < beyond]:
        x = torch.randn(size, *SHAPE, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            expected = net(x)
        torch.testing.assert_close(run(x), expected, rtol=1e-4, atol=1e-5)
        if backend not in PYTHON_ONLY:
            returned = run_inputs(runner, wide[backend], x, 1, batch=size)
            torch.testing.assert_close(returned, expected, rtol=1e-4, atol=1e-5)
    for size in (0, beyond):
        with pytest.raises(BadArtifact, match="batch"):
            run(torch.randn(size, *SHAPE))
        if backend not in PYTHON_ONLY:
            with pytest.raises(BadArtifact):
                run_inputs(runner, wide[backend], torch.randn(size, *SHAPE), 1, batch=beyond)


def test_the_manifest_names_the_batches_that_were_tried(wide: dict[str, Path]) -> None:
    for backend, path in wide.items():
        found = {gate["name"]: gate for gate in open_artifact(path).manifest["parity"]["gates"]}
        if backend != "inductor":
            assert found["batches"]["sizes"] == [1, 2, 7, 32, 33, 64]
        assert found["batches refused"]["sizes"] == [0, LARGEST[backend] + 1]


def test_a_program_that_is_wrong_at_one_batch_is_found() -> None:
    """What exporters do that fold the example's batch into the graph."""
    task = small_prepared().task(CompileSpec(shape=SHAPE, batch=RANGE), _maker())

    def broken(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            out: torch.Tensor = task.module(x)
        return out if len(x) != 7 else out.roll(1, dims=0)

    found = gates.batches(broken, task.golden, task.bounds, [1, 2, 7, 64])
    assert not found["passed"] and found["worst"] == "batch 7"
    assert gates.batches(broken, task.golden, task.bounds, [1, 2, 64])["passed"]


def test_an_answer_beyond_the_range_is_found() -> None:
    task = small_prepared().task(CompileSpec(shape=SHAPE, batch=RANGE), _maker())
    found = gates.refusals(lambda x: x, task.golden, [0, 65])
    assert not found["passed"] and found["worst"] == "batch 0"


def _maker() -> object:
    from compile.backends import backend

    return backend("eager")


@pytest.fixture(scope="module")
def from_bytes(tmp_path_factory: pytest.TempPathFactory, runner: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bytes")
    prepared = PreparedModel(small_net(), SHAPE, mean=[0.4, 0.5], std=[0.2, 0.3])
    spec = CompileSpec(shape=SHAPE, batch=(1, 8), input_type="uint8")
    return {
        backend: compile_module(prepared, spec, backend=backend, root=root, runner=runner).path
        for backend in ("torchscript", "onnx", "openvino")
    }


@pytest.mark.parametrize("backend", ["torchscript", "onnx", "openvino"])
def test_bytes_are_normalised_inside(
    backend: str, from_bytes: dict[str, Path], runner: Path
) -> None:
    artifact = open_artifact(from_bytes[backend])
    channels, height, width = SHAPE
    assert artifact.manifest["inputs"][0] == {
        "name": "input",
        "dtype": "uint8",
        "layout": "NHWC",
        "shape": [height, width, channels],
    }
    assert from_bytes[backend].name.endswith("-u8")
    assert artifact.manifest["nonfinite"] is None
    x = torch.randint(0, 256, (3, height, width, channels), dtype=torch.uint8)
    pixels = (x.permute(0, 3, 1, 2) / 255 - torch.tensor([0.4, 0.5])[:, None, None]) / (
        torch.tensor([0.2, 0.3])[:, None, None]
    )
    with torch.no_grad():
        expected = small_net()(pixels)
    run = load(from_bytes[backend])
    torch.testing.assert_close(run(x), expected, rtol=1e-4, atol=1e-4)
    for wrong in (pixels, x.permute(0, 3, 1, 2), x[:, :4]):
        with pytest.raises(BadArtifact, match=r"uint8 \(N, 8, 8, 2\)"):
            run(wrong)
    if backend not in PYTHON_ONLY:
        torch.testing.assert_close(
            run_inputs(runner, from_bytes[backend], x, 1), expected, rtol=1e-4, atol=1e-4
        )


def test_pytorchs_own_error_has_that_of_normalising_bytes(tmp_path: Path) -> None:
    """One convolution adds so little to it that a right program would come near to its bound."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Conv2d(2, 16, 3, padding=1), nn.Flatten()).eval()
    prepared = PreparedModel(net, SHAPE, mean=[0.5, 0.5], std=[0.5, 0.5])
    spec = CompileSpec(shape=SHAPE, input_type="uint8")
    entry = compile_module(prepared, spec, backend="torchscript", root=tmp_path).manifest["parity"]
    assert max(row["rmse"] / row["e_eager"] for row in entry["outputs"][0]["bounds"]) < 1.2


def test_accuracy_is_counted_on_bytes_too(runner: Path, tmp_path: Path) -> None:
    from compile.api import Model

    pixels = {"channels": 2, "height": 8, "width": 8, "mean": [0.4, 0.5], "std": [0.2, 0.3]}
    result = compile_module(
        small_net(),
        CompileSpec(shape=SHAPE, input_type="uint8"),
        backend="torchscript",
        root=tmp_path,
        model=Model(name="smallnet", preprocessing=pixels),
    )
    mean, std = (torch.tensor(pixels[key])[:, None, None] for key in ("mean", "std"))
    images = (torch.randint(0, 256, (20, *SHAPE)) / 255 - mean) / std
    labels = oracle(small_net(), images.double()).argmax(dim=1)
    rows = check_artifact(result.path, runner, Labelled(images=images, labels=labels))
    assert [(row.correct, row.total) for row in rows] == [(20, 20)] * 2


class MobileLike(nn.Module):
    """Inverted residuals: pointwise, depthwise, pointwise, with ReLU6 and hard swish."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(2, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()
        )
        self.block = nn.Sequential(
            nn.Conv2d(16, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU6(),
            nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU6(),
            nn.Conv2d(32, 16, 1, bias=False),
            nn.BatchNorm2d(16),
        )
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head((x + self.block(x)).mean((2, 3)))


class ConvNeXtLike(nn.Module):
    """A large depthwise kernel, layer norm over channels, GELU, a learned scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 16, 2, stride=2)
        self.depthwise = nn.Conv2d(16, 16, 7, padding=3, groups=16)
        self.norm = nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.scale = nn.Parameter(torch.full((16,), 0.3))
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))
        return self.head((x + (self.scale * y).permute(0, 3, 1, 2)).mean((2, 3)))


def lifelike(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make()
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.running_mean, std=0.3)
                nn.init.uniform_(layer.running_var, 0.3, 2.0)
        nn.init.normal_(net.get_submodule("head").get_parameter("weight"))
    return net.eval()


@pytest.mark.parametrize("make", [MobileLike, ConvNeXtLike])
@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        ("torchscript", "bf16"),
        ("inductor", "fp32"),
        ("onnx", "int8"),
        ("openvino", "fp32"),
    ],
)
def test_other_networks_go_the_whole_way(
    make: Callable[[], nn.Module], backend: str, precision: str, runner: Path, tmp_path: Path
) -> None:
    """Built, proved, read back by zoo-run, checked and measured there."""
    images = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(11))
    spec = CompileSpec(shape=SHAPE, batch=(1, 4) if backend == "openvino" else (1, 1))
    spec = CompileSpec(shape=SHAPE, batch=spec.batch, precision=precision)
    result = compile_module(
        lifelike(make),
        spec,
        backend=backend,
        root=tmp_path,
        runner=runner,
        calibration=images if precision == "int8" else None,
    )
    assert result.manifest["precision"] == precision
    if backend in PYTHON_ONLY:
        return
    assert "zoo-run" in result.manifest["parity"]["ran_in"]
    subprocess.run([runner, result.path, "--check", "--quiet"], check=True)
    command = [runner, result.path, "--duration", "0.05", "--json", "-"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["latency_ms"]["n"] > 0


def test_torch_compile_runs_its_range(tmp_path: Path) -> None:
    spec = CompileSpec(shape=SHAPE, batch=(1, 4))
    result = compile_module(small_net(), spec, backend="torch-compile", root=tmp_path)
    assert result.path.name == "torch-compile-fp32-b1-4-cpu"
    assert result.manifest["parity"]["ran_in"] == ["python"]
    with torch.no_grad():
        x = torch.randn(3, *SHAPE)
        torch.testing.assert_close(load(result.path)(x), small_net()(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_wrong_simplification_is_not_published(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxsim's own verdict is no proof: its graph is run beside the exporter's."""
    import onnx
    import onnxsim

    def spoil(model: onnx.ModelProto, **_: object) -> tuple[onnx.ModelProto, bool]:
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        first = next(node for node in changed.graph.node if node.op_type == "Relu")
        first.op_type = "Identity"
        return changed, True

    monkeypatch.setattr(onnxsim, "simplify", spoil)
    spec = CompileSpec(shape=SHAPE, precision=precision)
    with pytest.raises(CheckFailed, match="onnxsim changed the output"):
        compile_module(small_net(), spec, backend="onnx", root=tmp_path)
