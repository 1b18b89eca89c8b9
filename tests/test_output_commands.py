"""Artifacts with outputs that were asked for, through the commands and the Python API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import zoo as package
from compile.artifact.reading import open_artifact
from zoo.cli import _run
from zoo.cli.recompile import trusted_options
from zoo.errors import UsageError

FRESH = ["resnet20", "--fresh", "--input", "1x3x8x8"]
WANTED = "features,mid=layer3.0.conv2,logits"
COMMANDS = ("compile", "check", "bench")

Zoo = Callable[..., str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two artifacts of one network: with three outputs, and with its features alone."""
    root = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.cli.compile.ready_runner", lambda _given: None)  # quicker
        for wanted in (WANTED, "features"):
            words = ["compile", *FRESH, "--backend", "torchscript", "--output", wanted, "--quiet"]
            assert _run([*words, "--out", str(root)]) == 0
    return root


@pytest.fixture
def zoo(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Zoo:
    """A command that must succeed: what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "artifacts").symlink_to(root)
    for command in COMMANDS:
        monkeypatch.setattr(f"zoo.cli.{command}.ready_runner", lambda _given: None)

    def call(*words: str) -> str:
        capfd.readouterr()
        assert _run(list(words)) == 0, capfd.readouterr().err
        return capfd.readouterr().out

    return call


def three(root: Path) -> Path:
    (path,) = root.glob("*/*-features+mid+logits")
    return path


def test_an_artifact_is_named_after_its_outputs(root: Path, zoo: Zoo) -> None:
    manifest = open_artifact(three(root)).manifest
    assert {each["name"]: each["shape"] for each in manifest["outputs"]} == {
        "features": [64],
        "mid": [64, 2, 2],
        "logits": [10],
    }
    assert manifest["build"]["request"]["outputs"] == {
        "features": "fc:input",
        "mid": "layer3.0.conv2",
        "logits": "",
    }
    assert three(root).name in zoo("list") and "cpu-3x8x8-features\n" in zoo("list")


def test_a_second_call_builds_nothing(root: Path, zoo: Zoo) -> None:
    words = ["compile", *FRESH, "--backend", "torchscript", "--output", WANTED]
    out = zoo(*words)
    assert "up to date" in out
    assert "outputs: features N x 64, mid N x 64x2x2, logits N x 10\n" in out
    (cell,) = json.loads(zoo(*words, "--json"))["cells"]
    assert cell["outputs"] == {"features": [64], "mid": [64, 2, 2], "logits": [10]}


def test_the_recorded_command_means_the_same(root: Path, tmp_path: Path) -> None:
    command = open_artifact(three(root)).manifest["build"]["command"]
    options = trusted_options(command, tmp_path)
    assert options.output == (WANTED,)


def test_inspect_has_a_row_for_each_output(root: Path, zoo: Zoo) -> None:
    lines = zoo("inspect", str(three(root))).splitlines()
    rows = {line.split()[0]: line.split() for line in lines if " N x " in line}
    assert rows["mid"][1:6] == ["N", "x", "64x2x2", "all", "256"] and rows["mid"][-1] == "-"
    assert rows["logits"][-1] == "classes" and rows["features"][-1] == "-"
    assert any(line.startswith("parity ") and line.count("(") == 1 for line in lines)


def test_check_has_a_row_for_each_output(root: Path, zoo: Zoo) -> None:
    out = zoo("check", "--all")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in ("features", "mid", "logits"):
        assert any(line.startswith(f"  {name} ") for line in lines), name
    assert "\n-: no output of the artifact holds scores of classes\n" in out
    document = json.loads(zoo("check", "--all", "--json"))
    by_name = {row["artifact"].rpartition("-")[2]: row for row in document["rows"]}
    several, alone = by_name["features+mid+logits"], by_name["features"]
    assert [each["name"] for each in several["outputs"]] == ["features", "mid", "logits"]
    assert [each["top1"] is None for each in several["outputs"]] == [True, True, False]
    assert several["ratio"] == max(each["ratio"] for each in several["outputs"])
    assert alone["decided"] == 0 and alone["total"] is None
    (why,) = (v for k, v in document["no_data"].items() if k.endswith("-features"))
    assert why == "none of its outputs holds scores of classes"


def test_bench_tells_artifacts_apart(zoo: Zoo) -> None:
    out = zoo("bench", "--all", "--iterations", "3", "--duration", "0.01", "--threads", "1")
    assert "\nfeatures+mid+" in out and "\nfeatures " in out
    assert all(len(line) <= 80 for line in out.splitlines() if "-cpu-" not in line)


def test_triton_gets_every_output(root: Path, zoo: Zoo, tmp_path: Path) -> None:
    out = zoo("export", str(three(root)), "--triton", "models")
    assert "OUTPUT__0 is features, OUTPUT__1 is mid, OUTPUT__2 is logits" in out
    text = (tmp_path / "models" / "resnet20" / "config.pbtxt").read_text()
    assert text.count("output [") == 3 and "dims: [1, 64, 2, 2]" in text
    beside = json.loads((tmp_path / "models" / "resnet20" / "preprocessing.json").read_text())
    assert [each["name"] for each in beside["outputs"]] == ["features", "mid", "logits"]


def test_python_gets_tensors_by_their_names(root: Path) -> None:
    x = torch.randn(1, 3, 8, 8)
    answer = package.load(three(root))(x)
    assert {name: tuple(each.shape) for name, each in answer.items()} == {
        "features": (1, 64),
        "mid": (1, 64, 2, 2),
        "logits": (1, 10),
    }
    with pytest.raises(UsageError, match="names no classes"):
        package.load(three(root)).predict("none.png")


def test_python_and_the_command_line_build_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compile.runner.find_runner", lambda _given: None)  # quicker
    places = {"features": "fc:input", "mid": "layer3.0.conv2"}
    for output in (WANTED, WANTED.split(",")):
        made = package.compile(
            "resnet20",
            fresh=True,
            shape=(3, 8, 8),
            backend="torchscript",
            output=output,
            root=root,
        )
        assert (made.path, made.built) == (three(root), False)
    made = package.compile(
        "resnet20", fresh=True, shape=(3, 8, 8), backend="eager", output=places, root=root / "own"
    )
    command = open_artifact(made.path).manifest["build"]["command"]
    assert "--output features=fc:input,mid=layer3.0.conv2" in command


def test_the_list_of_outputs(zoo: Zoo) -> None:
    out = zoo("compile", *FRESH, "--output", "list")
    assert "features " in out and "layer3.0.conv2 " in out and "64x2x2" in out
    assert max(map(len, out.splitlines())) <= 80
    assert out.splitlines()[-1] == (
        "next: zoo compile resnet20 --fresh --seed 0 --input 1x3x8x8 --output features"
    )
    rows = json.loads(zoo("compile", *FRESH, "--output", "list", "--json"))["outputs"]
    assert rows[0] == {
        "output": "logits",
        "what": "what it returns",
        "shape": [10],
        "is_path": False,
    }


@pytest.mark.parametrize(
    ("output", "said"),
    [("c6", "has no output 'c6'"), ("list,c3", "stands alone"), ("c3,c3", "names 'c3' twice")],
)
def test_a_wrong_name_is_one_line(
    output: str, said: str, zoo: Zoo, capfd: pytest.CaptureFixture[str]
) -> None:
    del zoo
    assert _run(["compile", *FRESH, "--backend", "eager", "--output", output]) == 2
    err = capfd.readouterr().err
    assert said in err and len(err.splitlines()) == 1
