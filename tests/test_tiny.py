"""The whole product in one file: train, compile, load, check, run from C++, measure. Start here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

import zoo
from zoo.runs.checkpoint import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A resnet20, trained for two epochs on 64 generated 8x8 images of four classes."""
    images, settings = "synthetic:4:64", {"batch": 16}  # classes and images of the data
    root = tmp_path_factory.mktemp("runs")
    return zoo.train("resnet20", data=images, size=8, epochs=2, settings=settings, root=root)


@pytest.mark.parametrize("backend", ["torchscript", "inductor", "onnx"])
def test_from_training_to_measurement(backend: str, run: Run, runner: Path, tmp_path: Path) -> None:
    artifact = zoo.compile(run, backend=backend, root=tmp_path).path

    classifier = zoo.load(artifact)
    image = torch.randn(1, *classifier.shape)
    with torch.no_grad():
        expected = run.build()(image)  # the same weights in eager PyTorch
    torch.testing.assert_close(classifier(image), expected, rtol=1e-3, atol=1e-4)  # loosely

    # The real bound is that of the artifact's proof.
    verdicts = {row.ran_in: row.verdict for row in zoo.check(artifact, runner=runner)}
    report = zoo.bench(artifact, iterations=5, threads=1, runner=runner)
    in_python = "onnxruntime" if backend == "onnx" else "torch"
    assert verdicts == {in_python: "PASSED", "zoo-run": "PASSED"}
    for place in ("python", "runner"):
        assert report[place]["latency_ms"]["median"] > 0
    subprocess.run([runner, artifact, "--check", "--quiet"], check=True)  # without Python
