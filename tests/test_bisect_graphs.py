"""zoo bisect on graphs of other kinds: written over in place, compiled in parts, by hand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from compile.api import compile_module
from compile.artifact.reading import open_artifact
from compile.backends import inductor
from compile.bisect.reference import graph
from compile.bisect.search import bisect
from compile.errors import BadArtifact, CheckFailed, UsageError
from compile.graphs.blocks import Operation, Steps, blocks
from compile.graphs.names import exported
from compile.graphs.taps import GraphTaps
from compile.network.quantize import scheme_here
from compile.proof.prepared import PreparedModel
from compile.spec import MAX_BATCH, CompileSpec
from tests.support.bisect import perturbed, plant, same, seal
from tests.support.forgery import rewrite
from tests.support.networks import SHAPE, small_prepared, values_of
from zoo.cli import _run

SMALL = ["conv1", "relu1", "conv2..relu2", "conv3", "relu3", "fc"]
"""The blocks of conftest's network."""


class InPlace(nn.Module):
    """As torchvision writes them: one ReLU for all that writes into its input, a sum in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(SHAPE[0], 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.conv1(x))
        y = self.conv2(x)
        y += x
        y = self.relu(self.conv3(self.relu(y)))
        return self.fc(torch.flatten(y.mean((2, 3)), 1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["torchscript", "eager"])
def test_values_that_are_written_over_later(backend: str, tmp_path: Path) -> None:
    """They are kept in time; a module that runs twice is two places."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        prepared = PreparedModel(InPlace().eval(), SHAPE)
    made = compile_module(prepared, CompileSpec(shape=SHAPE), backend=backend, root=tmp_path)
    report = bisect(made.path, prepared, full=True)
    assert report.passed, report
    wanted = ["conv1", "relu", "conv2..relu", "conv3", "relu (2)", "fc"]
    assert report.blocks == wanted
    plant(made.path, prepared.network.folded.get_parameter("conv3.weight"), seed=1)
    assert bisect(made.path, prepared).culprit == "conv3"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bytes_are_followed_through_the_network(precision: str, tmp_path: Path) -> None:
    """The normalisation stands around the network, and the cast around that."""
    prepared = PreparedModel(two_layers(wrong=False), SHAPE, mean=[0.4, 0.5], std=[0.2, 0.3])
    spec = CompileSpec(shape=SHAPE, precision=precision, input_type="uint8")
    made = compile_module(prepared, spec, backend="torchscript", root=tmp_path)
    report = bisect(made.path, prepared, full=True)
    assert (report.passed, report.blocks) == (True, ["conv", "fc"])
    plant(made.path, prepared.network.folded.get_parameter("fc.weight"), seed=3, size=0.1)
    assert bisect(made.path, prepared).culprit == "fc"


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own, when it copies a graph
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_network_that_was_exported_before(precision: str, tmp_path: Path) -> None:
    """Whatever stands around it adds steps of its own; its names stay."""

    class Halved(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x / 2)

    network = exported(
        small_prepared().network.folded, CompileSpec(shape=SHAPE, batch=(1, MAX_BATCH))
    ).module()
    given = small_prepared().quantised_tasks.calibration
    prepared = PreparedModel(
        Halved(network), SHAPE, calibration=given, mean=[0.5] * 2, std=[0.2] * 2
    )
    backend = "onnx" if precision == "int8" else "eager"
    spec = CompileSpec(shape=SHAPE, precision=precision, input_type="uint8")
    made = compile_module(prepared, spec, backend=backend, root=tmp_path)
    report = bisect(made.path, prepared, full=True)
    assert (report.passed, report.blocks) == (True, SMALL)


def test_bytes_are_followed_onto_the_grid(tmp_path: Path) -> None:
    prepared = small_prepared()
    spec = CompileSpec(shape=SHAPE, precision="int8", input_type="uint8")
    made = compile_module(prepared, spec, backend="onnx", root=tmp_path)
    report = bisect(made.path, prepared, full=True)
    assert (report.passed, report.blocks) == (True, SMALL)
    weights = values_of(prepared.weights("int8", scheme_here("x86")))
    plant(made.path, weights["conv3.weight"], seed=3, size=1.0)
    assert bisect(made.path, prepared).culprit == "conv3"


def test_inductor_keeps_the_graph_on_its_grid(
    copy_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the names of the network's modules, which tracing it again would lose."""
    monkeypatch.setattr(inductor, "_compile_part", lambda module, spec: module)
    folder = copy_of("inductor-int8")
    report = bisect(folder, small_prepared(), full=True)
    assert (report.passed, report.blocks) == (True, SMALL)
    graph = torch.export.load(folder / "graph.pt2")
    wanted = values_of(small_prepared().weights("int8", scheme_here("x86")))["conv2.weight"]
    (found,) = [value for value in graph.state_dict.values() if same(value, wanted)]
    found.copy_(perturbed(found, seed=0, size=1.0))
    torch.export.save(graph, folder / "graph.pt2")
    seal(folder)
    report = bisect(folder, small_prepared(), full=True)
    assert report.culprit == "conv2..relu2"
    assert "weights differ" not in report.reason, "those of the package are right"


def test_a_value_is_kept_before_it_is_written_over() -> None:
    prepared = PreparedModel(InPlace().eval(), SHAPE)
    network = GraphTaps(graph(prepared.network, "fp32"), 0)
    x = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(7))
    before, after = network.tap([network.ends["conv1", 1], network.ends["relu", 1]])(x)
    assert before.min() < 0
    assert torch.equal(before.relu(), after)


class TwoLayers(nn.Module):
    """The fewest blocks there can be: each costs a compilation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(SHAPE[0], 8, 3)
        self.fc = nn.Linear(8 * 36, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.conv(x), 1))


def two_layers(*, wrong: bool) -> TwoLayers:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        net = TwoLayers().eval()
    if wrong:
        net.conv.weight.data = perturbed(net.conv.weight.data, seed=2)
    return net


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inductor artifact of the wrong network that claims to be the right one's."""
    root = tmp_path_factory.mktemp("forged")
    spec = CompileSpec(shape=SHAPE)
    right = compile_module(two_layers(wrong=False), spec, backend="torchscript", root=root)
    wrong = compile_module(two_layers(wrong=True), spec, backend="inductor", root=root)
    (wrong.path / "golden.safetensors").write_bytes(
        (right.path / "golden.safetensors").read_bytes()
    )
    claims = {key: right.manifest[key] for key in ("model", "parity")}
    rewrite(wrong.path, lambda m: m.update(claims))
    seal(wrong.path)
    return wrong.path


def test_inductor_compiles_parts_of_the_graph_it_keeps(forged: Path) -> None:
    """The fault is in the graph: a part that is compiled again has it too."""
    report = bisect(forged, PreparedModel(two_layers(wrong=False), SHAPE))
    assert (report.culprit, report.blocks) == ("conv", ["conv", "fc"])


def test_torch_compile_compiles_parts_of_the_graph_it_loads(tmp_path: Path) -> None:
    prepared = PreparedModel(two_layers(wrong=False), SHAPE)
    made = compile_module(
        prepared, CompileSpec(shape=SHAPE), backend="torch-compile", root=tmp_path
    )
    report = bisect(made.path, prepared, full=True)
    assert (report.passed, report.blocks) == (True, ["conv", "fc"])
    plant(made.path, prepared.network.given.conv.weight, seed=2)
    assert bisect(made.path, prepared).culprit == "conv"


def test_a_file_that_is_not_what_its_graph_says(
    forged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph is right, the program is not: its own constants name the layer, if they differ."""
    monkeypatch.setattr(inductor, "_compile_part", lambda module, spec: module)
    folder = Path(shutil.copytree(forged, tmp_path / "file"))
    prepared = PreparedModel(two_layers(wrong=False), SHAPE)
    torch.export.save(
        exported(prepared.network.folded, CompileSpec(shape=SHAPE)), folder / "graph.pt2"
    )
    seal(folder)
    report = bisect(folder, prepared)
    assert not report.passed
    assert (report.culprit, report.inside) == ("conv", "conv")
    assert "weights differ" in report.reason
    right = list(values_of(prepared.weights("fp32")).values())
    monkeypatch.setattr(inductor, "constants", lambda *_: iter(right))
    report = bisect(folder, prepared)
    assert (report.passed, report.culprit) == (False, None)
    assert "only as a whole" in report.reason


def test_the_graph_is_verified_and_is_no_file_of_the_program(forged: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(forged, tmp_path / "graph"))
    prepared = PreparedModel(two_layers(wrong=False), SHAPE)
    assert "graph.pt2" not in open_artifact(folder).files
    content = bytearray((folder / "graph.pt2").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "graph.pt2").write_bytes(content)
    assert _run(["inspect", str(folder), "--json"]) == 3
    open_artifact(folder)  # whoever only runs the program does not read it
    with pytest.raises(BadArtifact, match="sha256"):
        bisect(folder, prepared)
    rewrite(
        folder,
        lambda m: m.update(graph={"file": "../graph.pt2", **m["files"]["golden.safetensors"]}),
    )
    with pytest.raises(BadArtifact, match="path"):
        open_artifact(folder)
    rewrite(folder, lambda m: m.update(graph={"file": "graph.pt2"}))
    with pytest.raises(BadArtifact, match="graph"):
        open_artifact(folder)
    rewrite(folder, lambda m: m.update(graph=None))
    with pytest.raises(BadArtifact, match="--force"):
        bisect(folder, prepared)


def test_a_network_without_named_modules_is_refused(tmp_path: Path) -> None:
    class Nameless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-1, 1, 3 * 128).sin().reshape(3, 128))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.flatten(x, 1) @ self.weight.T

    prepared = PreparedModel(Nameless().eval(), SHAPE)
    made = compile_module(prepared, CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path)
    with pytest.raises(UsageError, match="no named modules"):
        bisect(made.path, prepared, full=True)


def test_blocks_of_a_graph_written_by_hand() -> None:
    """A branch holds no cut; an operation of nobody leaves it open where a module ends."""

    def step(output: str, inputs: str, module: str | None) -> Operation:
        return Operation(output=output, inputs=tuple(inputs.split()), module=module)

    graph = [
        step("scaled", "weight", ""),  # of weights alone: no part of the way
        step("a", "x", "stem"),
        step("b", "a scaled", "unit.conv"),
        step("c", "a", "unit.short"),
        step("d", "b c", "unit"),
        step("e", "d", "head.act"),
        step("f", "e", None),
        step("g", "f", "head.fc"),
    ]
    found = Steps(graph, "x", "g")
    assert [end.key[0] for end in found.ends] == [
        *("stem", "unit.conv", "unit.short", "unit", "head.fc")
    ]
    assert [end.key[0] for end in found.ends if end.cut] == ["stem", "unit", "head.fc"]
    cut = blocks(found, [end.key for end in found.ends])
    assert [block.name for block in cut] == ["stem", "unit", "head"]
    assert [end.key[0] for end in cut[1].inner] == ["unit.conv", "unit.short"]
    assert [block.name for block in blocks(found, [("unit", 1)])] == ["stem..unit", "head"]
    with pytest.raises(CheckFailed, match="no module"):
        blocks(found, [("stem", 2)])
