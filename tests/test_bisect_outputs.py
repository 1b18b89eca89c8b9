"""zoo bisect on artifacts with several outputs: the most wrong one is followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from compile.api import compile_module
from compile.bisect.search import Bisection, bisect
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.support.bisect import plant, seal
from tests.support.networks import SHAPE, small_net

OUTPUTS = {"logits": "", "mid": "relu2", "same": "relu2"}
"""Two names of one tensor, and the last one in the network comes first."""


@pytest.fixture
def prepared() -> PreparedModel:
    return PreparedModel(small_net(), SHAPE, outputs=OUTPUTS)


def built(prepared: PreparedModel, backend: str, root: Path) -> Path:
    return compile_module(prepared, CompileSpec(shape=SHAPE), backend=backend, root=root).path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["torchscript", "onnx"])
@pytest.mark.parametrize(
    ("weight", "output", "block"),
    [("conv3.weight", "logits", "conv3"), ("conv1.weight", None, "conv1")],
)
def test_a_fault_is_found_behind_the_output_that_shows_it(
    backend: str,
    weight: str,
    output: str | None,
    block: str,
    prepared: PreparedModel,
    tmp_path: Path,
) -> None:
    path = built(prepared, backend, tmp_path)
    sound = bisect(path, prepared, full=True)
    assert sound.passed and sound.output in OUTPUTS
    folded = next(each for each in prepared.weights("fp32") if each.name == weight)
    plant(path, next(folded.forms()).values, seed=3, size=0.05)
    for full in (False, True):
        found = bisect(path, prepared, full=full)
        assert_found(found, block)
        assert output in (None, found.output)
        if full:
            assert [point.name for point in found.points] == found.blocks


def assert_found(found: Bisection, block: str) -> None:
    assert not found.passed
    assert found.culprit is not None and block in (found.culprit, found.inside)


def test_an_output_that_is_wrong_by_itself_is_blamed_on_its_own_block(
    prepared: PreparedModel, tmp_path: Path
) -> None:
    """Nothing later is wrong, so halving the whole network would end at its last layer."""
    package = pytest.importorskip("onnx")
    path = built(prepared, "onnx", tmp_path)
    model = package.load(path / "model.onnx")
    (maker,) = (node for node in model.graph.node if "mid" in node.output)
    for node in model.graph.node:
        node.input[:] = ["right" if name == "mid" else name for name in node.input]
    maker.output[:] = ["right"]
    factor = package.helper.make_tensor("factor", package.TensorProto.FLOAT, [], [1.01])
    model.graph.initializer.append(factor)
    model.graph.node.append(package.helper.make_node("Mul", ["right", "factor"], ["mid"]))
    package.save(model, path / "model.onnx")
    seal(path)
    for full in (False, True):
        found = bisect(path, prepared, full=full)
        assert found.output == "mid"
        assert_found(found, "conv2..relu2")
