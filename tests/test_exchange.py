"""`zoo import` and `zoo export`: what they print, and what becomes of an imported run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import Tensor

from tests.support.exchange import SMALL, publish, small_state
from zoo.cli import _run
from zoo.exchange import import_weights
from zoo.runs.checkpoint import list_runs


@pytest.fixture
def state() -> dict[str, Tensor]:
    return dict(small_state())


def test_commands_end_by_naming_the_next(
    tmp_path: Path,
    state: dict[str, Tensor],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    path = publish(tmp_path, SMALL, dict(state))
    assert _run(["import", SMALL, "--weights", path.name]) == 0
    out = capsys.readouterr().out
    folder = next((tmp_path / "runs" / SMALL).iterdir())
    assert f"imported runs/{SMALL}/{folder.name}: {SMALL}, 1000 classes" in out
    assert out.splitlines()[-1].startswith(f"next: zoo compile runs/{SMALL}/")
    assert _run(["import", SMALL, "--weights", path.name, "--classes", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["options"]["num_classes"] == 3 and report["source"]["file"] == path.name
    Image.new("RGB", (300, 260), (200, 30, 30)).save("red.png")
    assert _run(["predict", f"runs/{SMALL}/{folder.name}", "red.png"]) == 0
    assert "red.png: " in capsys.readouterr().out
    assert folder in list_runs(tmp_path / "runs")
    for wanted in ("timm", "hf"):
        assert _run(["export", f"runs/{SMALL}/{folder.name}", "--format", wanted]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"exported exports/{SMALL}-") and lines[-1].startswith("next: ")
    assert _run(["export", SMALL, "--format", "timm", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (tmp_path / report["path"]).exists() and report["written"]
    assert _run(["export", SMALL, "--format", "torchvision"]) == 2
    assert _run(["export", "resnet19", "--format", "timm"]) == 2
    assert _run(["export", "runs", "--format", "timm"]) == 2
    assert _run(["import", SMALL, "--weights", "missing.pth"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 4 and all(line.startswith("zoo: ") for line in errors)


def test_an_imported_run_compiles(
    tmp_path: Path,
    state: dict[str, Tensor],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zoo.cli.compile.ready_runner", lambda _given: None)  # quicker
    path = publish(tmp_path, SMALL, dict(state))
    run = import_weights(SMALL, path, out=tmp_path / "runs", settings=["size=32", "resize=36"]).run
    arguments = ["compile", str(run.folder), "--backend", "torchscript", "--quiet"]
    assert _run([*arguments, "--out", str(tmp_path / "artifacts")]) == 0, capsys.readouterr().err
    (manifest,) = (tmp_path / "artifacts").glob("*/*/manifest.json")
    content = json.loads(manifest.read_text())
    model = content["model"]
    assert model["weights_sha256"] == run.config.weights_sha256
    assert model["preprocessing"] == run.config.preprocessing
    assert content["outputs"][0]["classes"] == run.config.classes
