"""The whole product in one file: train, compile, load, check, run from C++, measure. Start here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compile.api import compile_module, load
from compile.measure.bench import bench
from compile.proof.check import check_artifact
from compile.runner import call_runner
from compile.spec import CompileSpec
from zoo.data import load as load_data
from zoo.runs.checkpoint import Run
from zoo.training.recipe import Recipe
from zoo.training.train import Work, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A resnet20, trained for two epochs on 64 drawn images of four classes."""
    images = load_data("synthetic:4:64", size=8, channels=1)
    folder = tmp_path_factory.mktemp("runs")
    recipe = Recipe(epochs=2, batch=16)
    return train("resnet20", images, recipe=recipe, out=folder, work=Work(quiet=True))


@pytest.mark.parametrize("backend", ["torchscript", "inductor", "onnx"])
def test_from_training_to_measurement(backend: str, run: Run, runner: Path, tmp_path: Path) -> None:
    network = run.build().eval()
    spec = CompileSpec(shape=(1, 8, 8), batch=(1, 1))
    artifact = compile_module(network, spec, backend=backend, root=tmp_path).path

    images = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        expected = network(images)
    torch.testing.assert_close(load(artifact)(images), expected, rtol=1e-3, atol=1e-4)

    verdicts = {row.ran_in: row.verdict for row in check_artifact(artifact, runner)}
    report = bench(artifact, runner, iterations=5, threads=1)
    assert report["python"]["latency_ms"]["median"] > 0
    if backend == "onnx":  # which zoo-run has no engine for
        assert verdicts == {"onnxruntime": "PASSED"} and report["runner"] is None
    else:
        assert verdicts == {"torch": "PASSED", "zoo-run": "PASSED"}
        assert report["runner"]["latency_ms"]["median"] > 0
        assert "PASSED" in call_runner(runner, [str(artifact), "--check"])
