"""zoo recompile: artifacts of any schema are built again; a forged command is refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from compile.artifact.manifest import MANIFEST, MANIFEST_HASH
from compile.artifact.reading import open_artifact
from zoo.cli import _run
from zoo.cli.compile import Compile
from zoo.cli.recompile import trusted_options
from zoo.errors import BadArtifact

WORDS = "--backend torchscript --precision fp32 --batch 2 --input 1x3x8x8 --device cpu"
COMMAND = f"zoo compile resnet20 --fresh --seed 3 {WORDS}"


def write(folder: Path, manifest: Any) -> Path:
    """A folder with a manifest that its hash fits, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(text)
    (folder / MANIFEST_HASH).write_text(hashlib.sha256(text).hexdigest() + "\n")
    return folder


def of_an_older_zoo(command: str) -> dict[str, Any]:
    return {"schema": "1.2", "build": {"command": command}}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one artifact. Tests copy it."""
    root = tmp_path_factory.mktemp("recompile") / "artifacts"
    words = COMMAND.split()[1:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.cli.compile.ready_runner", lambda _given: None)  # quicker
        assert _run([*words, "--out", str(root), "--quiet"]) == 0
    return root


@pytest.fixture
def root(artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("zoo.cli.compile.ready_runner", lambda _given: None)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(artifacts, tmp_path / "artifacts"))


def test_an_artifact_of_an_older_zoo_is_built_again(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder,) = root.glob("*/*")
    command = open_artifact(folder).manifest["build"]["command"]
    shutil.rmtree(folder)
    write(folder, of_an_older_zoo(command))
    assert _run(["recompile", str(folder), "--quiet"]) == 0
    out = capfd.readouterr().out.splitlines()
    assert out[0].startswith(f"rebuilt {folder} in ") and out[1:] == ["next: zoo check --all"]
    assert open_artifact(folder).manifest["build"]["command"] == command
    assert list(root.glob("*/*")) == [folder]


def test_what_python_compiled_is_built_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compile.runner.find_runner", lambda _given: None)  # quicker
    made = zoo.compile(
        "resnet20", backend="torchscript", batch=2, shape=(3, 8, 8), fresh=True, seed=3, root=root
    )
    assert not made.built, "the command line asked for the same"
    made = zoo.compile(
        "resnet20",
        backend="torchscript",
        batch=(1, 2),
        shape=(3, 8, 8),
        fresh=True,
        seed=3,
        root=root,
        input_type="uint8",
        accept_error=3,
    )
    command = open_artifact(made.path).manifest["build"]["command"]
    assert trusted_options(command, Path("runs")) == Compile(
        model="resnet20",
        fresh=True,
        seed=3,
        backend="torchscript",
        batch="1:2",
        input_="1x3x8x8",
        input_type="uint8",
        accept_error="3x",
        device="cpu",
    )
    before = os.stat(made.path).st_ino
    assert _run(["recompile", str(made.path), "--quiet"]) == 0
    assert os.stat(made.path).st_ino != before


def test_what_no_command_line_can_say_is_kept_as_a_call(tmp_path: Path) -> None:
    images = torch.rand(8, 3, 8, 8)
    mine = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5))
    for model, given in ((mine, None), ("resnet20", images)):
        made = zoo.compile(model, backend="eager", shape=(3, 8, 8), images=given, root=tmp_path)
        command = open_artifact(made.path).manifest["build"]["command"]
        assert command.startswith("zoo.compile(")
        assert _run(["recompile", str(made.path), "--quiet"]) == 3


def test_all_goes_on_after_a_damaged_one(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (sound,) = root.glob("*/*")
    before = (sound / MANIFEST).read_bytes()
    damaged = write(sound.with_name("torchscript-fp32-b1-cpu"), of_an_older_zoo(COMMAND))
    (damaged / MANIFEST_HASH).write_text("0" * 64 + "\n")
    assert _run(["recompile", "--all", "--out", str(root), "--json"]) == 3
    out, err = capfd.readouterr()
    first, second = json.loads(out)["artifacts"]
    assert first["artifact"] == str(damaged) and "damaged" in first["error"]
    assert (second["artifact"], second["path"]) == (str(sound), str(sound))
    assert second["error"] is None and (sound / MANIFEST).read_bytes() != before
    assert len(err.strip().splitlines()) == 1 and str(damaged) in err


def test_other_weights_leave_the_old_one(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder,) = root.glob("*/*")
    write(folder, of_an_older_zoo(COMMAND.replace("--seed 3", "--seed 4")))
    assert _run(["recompile", str(folder), "--quiet"]) == 0
    assert f"; {folder} stays as it is" in capfd.readouterr().out
    assert len(list(root.glob("*/*"))) == 2


FORGED = {
    "other code": "zoo compile evilmod:go --fresh --input 1x3x8x8",
    "other code by timm": "zoo compile timm:hf-hub:evil/net",
    "another program": "rm -rf /",
    "another command": "zoo clean --all-artifacts",
    "a shell": "zoo compile resnet20; touch evil",
    "an unknown option": "zoo compile resnet20 --frob",
    "the help": "zoo compile --help",
    "a program to run": "zoo compile resnet20 --runner ./evil",
    "a place to write to": "zoo compile resnet20 --out /etc",
    "a place to read runs from": "zoo compile resnet20 --runs /tmp",
    "the newest run": "zoo compile --backend onnx",
    "many artifacts": "zoo compile resnet20 --backend all",
    "an open quote": "zoo compile 'resnet20",
    "a call from Python": "compile_module(SmallNet(), CompileSpec(shape=(3, 8, 8)))",
    "nothing": "",
    "a file": "zoo compile /etc/passwd --backend onnx",
    "a file above": "zoo compile ../../x.pt --backend onnx",
    "a file by way of the runs": "zoo compile runs/../../x.pt --backend onnx",
    "a folder": "zoo compile /etc --backend onnx",
    "a link out of the runs": "zoo compile runs/link --backend onnx",
    "another hub": "zoo compile hf:evil/x --backend onnx",
    "a network that is none": "zoo compile resnet21 --backend onnx",
    "a run that is gone": "zoo compile runs/resnet20/gone --backend onnx",
    "images from elsewhere": "zoo compile resnet20 --fresh --backend onnx --calibrate /etc",
    "a huge batch": "zoo compile resnet20 --fresh --backend torchscript --batch 999999",
    "a batch that is none": "zoo compile resnet20 --fresh --backend torchscript --batch 5:1",
    "a huge input": "zoo compile resnet20 --fresh --backend torchscript --input 1x3x99999x99999",
    "a backend that is none": "zoo compile resnet20 --fresh --backend evil",
    "a device that is none": "zoo compile resnet20 --fresh --device tpu",
    "a target that is none": "zoo compile resnet20 --fresh --target evil",
    "a name that no file has": "zoo compile " + "a" * 9000 + " --backend onnx",
    "many lines": "zoo compile\n\x1b[31mresnet20 --frob" + "x" * 9999,
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_command_is_refused_in_one_line(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evilmod.py").write_text("from pathlib import Path\nPath('evil').touch()\n")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to("/etc")
    folder = write(tmp_path / "artifact", of_an_older_zoo(FORGED[name]))
    before = sorted(tmp_path.rglob("*"))
    assert _run(["recompile", str(folder)]) == 3
    out, err = capfd.readouterr()
    assert out == f"not rebuilt {folder}\n"
    assert len(err.splitlines()) == 1 and len(err) < 900 and "\x1b" not in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "manifest", [[], {}, {"build": None}, {"build": {"command": 7}}, {"build": {"command": []}}]
)
def test_a_manifest_without_a_command(manifest: object, tmp_path: Path) -> None:
    assert _run(["recompile", str(write(tmp_path / "artifact", manifest)), "--quiet"]) == 3


def test_a_manifest_that_is_not_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "artifact", of_an_older_zoo(COMMAND))
    for name in (MANIFEST, MANIFEST_HASH):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        assert _run(["recompile", str(folder)]) == 3
        assert "not a regular file" in capfd.readouterr().err


def test_what_names_no_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run(["recompile"]) == 2
    assert _run(["recompile", "--all"]) == 2
    assert _run(["recompile", "nowhere"]) == 2
    (tmp_path / "empty").mkdir()
    assert _run(["recompile", "empty", "--all"]) == 2
    assert _run(["recompile", "empty"]) == 3


def test_what_a_command_may_choose() -> None:
    assert trusted_options(COMMAND, Path("runs")) == Compile(
        model="resnet20",
        fresh=True,
        seed=3,
        backend="torchscript",
        batch="2",
        input_="1x3x8x8",
        device="cpu",
    )
    for model in ("timm:resnet50d.ra2_in1k", "runs/resnet20/one", str(Path("runs/x").absolute())):
        assert trusted_options(f"zoo compile {model}", Path("runs")).model == model
    for model in ("evil:go", "runs/../x", "/etc/passwd", "elsewhere/resnet20/one"):
        with pytest.raises(BadArtifact, match=f"`zoo compile {model} --force`"):
            trusted_options(f"zoo compile {model}", Path("runs"))
