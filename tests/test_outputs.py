"""Networks that return something else than class scores: how outputs are named and judged."""

from __future__ import annotations

import itertools
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from compile.api import compile_module, load
from compile.artifact.outputs import MAX_GROUPS, Layout, Output
from compile.artifact.reading import open_artifact
from compile.backends import backend
from compile.errors import BadArtifact, CheckFailed, UsageError
from compile.network import thinning
from compile.network.naming import named_tensors
from compile.network.network import Network
from compile.proof.golden import proof_of
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.networks import NETWORKS
from tests.networks.sound_outputs import TABLE as OUTPUTS
from tests.support.faults import Tampered
from tests.support.forgery import edit_onnx, refit
from tests.support.networks import SHAPE, small_net

LEVELS = {"first": "relu1", "second": "relu2", "features": "fc:input"}
"""Two maps of one shape, and a vector."""


@cache
def pyramid() -> PreparedModel:
    """The small network with three outputs; what it computed is kept."""
    return PreparedModel(small_net(), SHAPE, outputs=LEVELS)


def test_a_tuple_a_dict_and_what_they_hold_have_names() -> None:
    x = torch.zeros(1, 3)
    assert list(named_tensors(x)) == ["logits"]
    assert list(named_tensors(x[:, :1])) == ["output"]
    assert list(named_tensors((x, x))) == ["output0", "output1"]
    nested = {"a": x, "b": {"c": [x, x]}, "none": None}
    assert list(named_tensors(nested)) == ["a", "b.c.0", "b.c.1"]
    with pytest.raises(CheckFailed, match=r"'a\.b', which occurs twice"):
        named_tensors({"a": {"b": x}, "a.b": x})


def test_the_parts_are_those_of_the_contract() -> None:
    for shape in ((5, 4, 3), (3, 1, 2), (2, 7), (MAX_GROUPS + 3, 2), (2, 3, 3, 3)):
        output = Output(name="map", shape=shape)
        for place, part in enumerate(output.parts().tolist()):
            channel, *rest = (int(i) for i in torch.unravel_index(torch.tensor(place), shape))
            border = any(i in (0, n - 1) for i, n in zip(rest, shape[1:], strict=True))
            group = channel * min(shape[0], MAX_GROUPS) // shape[0]
            assert part == 2 * group + (not border)


def test_the_size_of_a_piece_is_the_root_mean_square_of_its_values() -> None:
    layout = Layout([Output(name="map", shape=(2, 3, 3)), Output(name="vector", shape=(4,))])
    maps, vectors = torch.randn(5, 2, 3, 3), torch.randn(5, 4)
    found = layout.rms(layout.join((maps, vectors)))
    inside = torch.zeros(3, 3, dtype=torch.bool)
    inside[1, 1] = True
    wanted = [maps.flatten(1)]
    for channel in range(2):
        wanted += [maps[:, channel][:, ~inside], maps[:, channel][:, inside]]
    wanted.append(vectors)
    columns = [each.double().square().mean(dim=1).sqrt() for each in wanted]
    torch.testing.assert_close(found, torch.stack(columns, dim=1))
    words = [layout.where(piece) for piece in range(6)]
    assert words[:2] == ["map", "map, channel 0, border"] and words[-1] == "vector"


def test_large_outputs_are_thinned_and_keep_every_corner() -> None:
    tensors = {
        name: torch.zeros(1, *shape)
        for name, shape in (("c3", (512, 28, 28)), ("c4", (1024, 14, 14)), ("small", (4, 9, 9)))
    }
    layout = thinning.layout_of(tensors, asked=True, classes=None, input_bytes=4 * 3 * 224 * 224)
    c3, c4, small = layout.outputs
    assert small.positions is None, "what is small is kept whole"
    for output in (c3, c4):
        assert output.positions is not None
        kept = set(output.positions.tolist())
        assert sorted(kept) == output.positions.tolist() and len(kept) == output.kept
        channels, height, width = output.shape
        for channel, y, x in itertools.product(range(channels), (0, height - 1), (0, width - 1)):
            assert (channel * height + y) * width + x in kept
        assert output.parts().bincount(minlength=2 * channels).min() > 0, "a part is not looked at"
    rows, parts = 24, sum(2 * output.groups for output in layout.outputs)
    size = 4 * 3 * 224 * 224 * rows + 8 * (layout.width * (rows + 1) + parts * rows)
    assert size <= 32 * 2**20


def test_thousands_of_channels_and_huge_vectors_are_thinned_too() -> None:
    tensors = {"many": torch.zeros(1, 200_000, 3, 3), "long": torch.zeros(1, 500_000)}
    layout = thinning.layout_of(tensors, asked=False, classes=None, input_bytes=2**24)
    assert 8 * 25 * layout.width <= 4 * 2**20
    for output in layout.outputs:
        assert output.positions is not None and 0 < output.kept < math.prod(output.shape)


def test_scores_are_where_classes_are() -> None:
    def scores(returned: object, *, asked: bool = False, classes: int | None = None) -> list[bool]:
        layout = thinning.layout_of(
            named_tensors(returned), asked=asked, classes=classes, input_bytes=4
        )
        return [output.scores for output in layout.outputs]

    vector, other, map_ = torch.zeros(1, 10), torch.zeros(1, 64), torch.zeros(1, 10, 4)
    assert scores(vector) == [True]
    assert scores({"features": vector}, asked=True) == [False]
    assert scores((vector, other)) == [False, False]
    assert scores((vector, other), classes=10) == [True, False]
    assert scores({"logits": vector, "map": map_}) == [True, False]
    assert scores(torch.zeros(1, 1)) == scores(map_) == [False]


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"a": "relu9"}, "no module 'relu9'; it has relu"),
        ({"a b": "relu1"}, "'a b' cannot be the name"),
        ({}, "0 outputs were named; name 1 to 16"),
    ],
)
def test_an_output_that_is_not_there_is_refused(places: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Network(small_net(), SHAPE, outputs=places)


def test_a_module_that_does_not_run_gives_no_output() -> None:
    net = small_net()
    net.idle = nn.ReLU()
    with pytest.raises(CheckFailed, match="module 'idle' is not run"):
        Network(net, SHAPE, outputs={"idle": "idle"}).check()


def test_what_a_later_step_overwrites_is_copied_before() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).eval()
    network = Network(net, SHAPE, outputs={"norm": "1", "relu": "2"})
    x = torch.randn(2, *SHAPE)
    norm, relu = network.compiled(network.given)(x)
    torch.testing.assert_close(norm, net[1](net[0](x)))
    torch.testing.assert_close(relu, norm.relu())


@pytest.mark.parametrize("name", ["torchscript", "onnx", "openvino", "eager"])
def test_every_output_is_proved(name: str, tmp_path: Path) -> None:
    made = compile_module(
        pyramid(), CompileSpec(shape=SHAPE, batch=(1, 3)), backend=name, root=tmp_path
    )
    assert made.path.name.endswith("-first+second+features")
    parity = made.manifest["parity"]["outputs"]
    assert [each["name"] for each in parity] == list(LEVELS)
    assert [each["top1"] for each in parity] == [None] * 3
    assert [each["channels"] and each["channels"]["groups"] for each in parity] == [16, 16, None]
    x = torch.randn(3, *SHAPE)
    answer = load(made.path)(x)
    assert isinstance(answer, dict) and list(answer) == list(LEVELS)
    network = pyramid().network
    for got, wanted in zip(answer.values(), network.compiled(network.given)(x), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OUTPUTS)
def test_sound_networks_of_any_output_are_built(name: str, tmp_path: Path) -> None:
    row = NETWORKS[name]
    spec = CompileSpec(shape=row.shape)
    made = compile_module(row.build(0), spec, backend="torchscript", root=tmp_path)
    assert made.manifest["status"] == "proved"


class _Wrong(nn.Module):
    """The folded network, with one thing done to its outputs."""

    def __init__(self, fault: str, size: float = 1e-5) -> None:
        super().__init__()
        self.folded, self.fault, self.size = pyramid().network.folded, fault, size

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first, second, features = self.folded(x)
        if self.fault == "exchanged":
            return second, first, features
        factor = torch.ones(first.shape[1:])
        factor[5, 0] += self.size
        return first * factor, second, features


@pytest.mark.parametrize(("backend", "precision"), [("onnx", "fp16"), ("torchscript", "bf16")])
def test_an_output_that_is_a_constant_has_a_type_of_its_own(
    backend: str, precision: str, tmp_path: Path
) -> None:
    row = NETWORKS["constant_maps"]
    spec = CompileSpec(shape=row.shape, precision=precision)
    built = compile_module(row.build(), spec, backend=backend, root=tmp_path).manifest
    assert built["precision"] == precision
    assert [output["name"] for output in built["outputs"]] == ["features", "zeros", "same"]


@pytest.mark.parametrize("name", ["torchscript", "onnx", "openvino"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("border", r"first, channel 5, border\) [\d.]+ times"),
        ("exchanged", r"of 23 samples beyond their bound, the worst \("),
    ],
)
def test_planted_faults_of_outputs_are_caught(
    fault: str, words: str, name: str, tmp_path: Path
) -> None:
    wrong = Tampered(lambda spec, _: _Wrong(fault), pyramid())
    with pytest.raises(CheckFailed, match=words):
        compile_module(wrong, CompileSpec(shape=SHAPE), backend=name, root=tmp_path)


def test_only_the_rule_for_parts_finds_a_wrong_border_row(tmp_path: Path) -> None:
    """One row of 8 values among 1,024 hardly moves the error of the whole output."""
    wrong = Tampered(lambda spec, _: _Wrong("border", 3e-6), pyramid())
    spec = CompileSpec(shape=SHAPE)
    made = compile_module(wrong, spec, backend="eager", root=tmp_path, accept_error=True)
    first = made.manifest["parity"]["outputs"][0]
    assert all(row["rmse"] <= row["bound"] for row in first["bounds"])
    assert first["channels"]["ratio"] > 1 and "channel 5, border" in first["channels"]["worst"]


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_renamed_output_is_refused(name: str, tmp_path: Path) -> None:
    spec = CompileSpec(shape=SHAPE)
    made = compile_module(pyramid(), spec, backend=name, root=tmp_path)

    def rename(model: object) -> None:
        graph = model.graph  # type: ignore[attr-defined]
        old, graph.output[1].name = graph.output[1].name, "third"
        for node in graph.node:
            node.output[:] = ["third" if name == old else name for name in node.output]
            node.input[:] = ["third" if name == old else name for name in node.input]

    edit_onnx(made.path / "model.onnx", rename)
    refit(made.path)
    with pytest.raises(BadArtifact, match=r"has the outputs first, third, features; the manifest"):
        load(made.path)


def test_thinned_outputs_are_proved_and_a_wrong_row_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinning, "_MOST_BYTES", 2**17)
    monkeypatch.setattr(thinning, "_LEAST_BYTES", 2**17)
    thinned = PreparedModel(small_net(), SHAPE, outputs=LEVELS)
    spec = CompileSpec(shape=SHAPE)
    made = compile_module(thinned, spec, backend="torchscript", root=tmp_path)
    kept = [each["positions"] for each in made.manifest["parity"]["outputs"]]
    assert all(0 < count < 1024 for count in kept[:2]) and kept[2] is None
    golden, bounds = proof_of(open_artifact(made.path))
    task = thinned.task(spec, backend("torchscript"))
    torch.testing.assert_close(golden.oracle, task.golden.oracle)
    torch.testing.assert_close(bounds.bound, task.bounds.bound)
    wrong = Tampered(lambda spec, _: _Wrong("border"), thinned)
    with pytest.raises(CheckFailed, match="first, channel 5, border"):
        compile_module(wrong, spec, backend="torchscript", root=tmp_path, force=True)
