"""zoo compile --timeout: what a child process reports of its build, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compile.artifact.reading import open_artifact
from compile.errors import BadArtifact, CheckFailed, NotBuildable, Unavailable, ZooError
from zoo.cli import _run
from zoo.cli.child_build import build_in_child

BUILT = {"path": "artifacts/a/b", "built": True, "seconds": 1.5, "refused": None, "failed": None}


def report(**fields: object) -> str:
    return json.dumps({"cells": [{**BUILT, **fields}]})


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What runs in the place of Python, to be written by the test."""
    program = tmp_path / "python"
    monkeypatch.setattr("zoo.cli.child_build.sys.executable", str(program))
    return program


def write(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_what_was_built_is_returned(child: Path, tmp_path: Path) -> None:
    write(child, f"echo \"$*\" > '{tmp_path}/words'; echo '{report()}'; echo noise >&2")
    assert build_in_child(["resnet18", "--json"], tmp_path, 60) == BUILT
    assert (tmp_path / "words").read_text() == "-m zoo compile resnet18 --json\n"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (f"echo '{report(refused='needs a GPU')}'; exit 4", NotBuildable, "needs a GPU"),
        (f"echo '{report(failed='parity: 3')}'; exit 1", CheckFailed, "parity: 3"),
        (f"echo '{report(failed='bad weights')}'; exit 3", BadArtifact, "bad weights"),
        ("echo warning >&2; echo 'zoo: no disk' >&2; exit 4", Unavailable, "no disk"),
        ("kill -9 $$", CheckFailed, "the build ended with -9"),
        ("echo half of", CheckFailed, "the build ended with 0"),
        ("sleep 60", CheckFailed, "still building after 0.5 s and ended; give it more"),
    ],
)
def test_what_went_wrong_is_raised(
    text: str, kind: type[ZooError], said: str, child: Path, tmp_path: Path
) -> None:
    write(child, text)
    with pytest.raises(ZooError) as caught:
        build_in_child([], tmp_path, 0.5 if text == "sleep 60" else 60)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(said)


def test_a_child_builds_what_its_parent_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    out = str(tmp_path / "art ifacts")
    words = "compile resnet20 --fresh --seed 2 --input 1x1x8x8 --batch 1:2 --backend torchscript"
    assert _run([*words.split(), "--out", out, "--timeout", "600", "--json"]) == 0
    (cell,) = json.loads(capfd.readouterr().out)["cells"]
    manifest = open_artifact(Path(cell["path"])).manifest
    assert Path(cell["path"]).parent.parent == Path(out) and cell["built"]
    for option in ("--seed 2", "--input 1x1x8x8", "--batch 1:2", "--device cpu"):
        assert option in manifest["build"]["command"]
    assert "--timeout" not in manifest["build"]["command"]
    assert manifest["programs"][0]["batch"] == [1, 2]
