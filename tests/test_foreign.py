"""Networks of others on the command line: timm's, and any importable callable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from compile.artifact.reading import open_artifact
from zoo.cli import _run
from zoo.errors import CheckFailed, Unavailable, UsageError
from zoo.sources.foreign import find_foreign, is_foreign
from zoo.sources.source import resolve

NETS = """
import signal
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)
    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))

class Slow(Net):
    def forward(self, x):
        while x.shape[0] == 1 and x.dtype == torch.float32:
            signal.pause()
        return super().forward(x)

class Holder:
    make = staticmethod(Net)

made = Net()
number = 3
def broken():
    raise ValueError("no such width")
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with factories, in the working directory."""
    name = f"nets_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_what_is_foreign() -> None:
    assert all(map(is_foreign, ("timm:resnet50d", "nets:make", "my.nets:Holder.make")))
    assert not any(map(is_foreign, ("resnet50", "runs/resnet18/x", "a:b:c", "cifar10:", ":x")))


@pytest.mark.parametrize("name", ["Net", "Holder.make", "made"])
def test_a_callable(nets: str, name: str) -> None:
    found = find_foreign(f"{nets}:{name}", seed=3, fresh=False, shape=(3, 8, 8))
    assert found.name == name.replace(".", "-") and not found.network.training
    assert found.network(torch.randn(2, 3, 8, 8)).shape == (2, 4)


def test_the_seed_decides_the_weights(nets: str) -> None:
    def weight(seed: int) -> torch.Tensor:
        found = find_foreign(f"{nets}:Net", seed=seed, fresh=False, shape=(3, 8, 8))
        return found.network.get_submodule("conv").get_parameter("weight")

    assert torch.equal(weight(1), weight(1)) and not torch.equal(weight(1), weight(2))


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("Nte", UsageError, "has no 'Nte'"),
        ("broken", CheckFailed, "broke: no such width"),
        ("number", CheckFailed, "not callable"),
    ],
)
def test_a_callable_that_gives_nothing(
    nets: str, name: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        find_foreign(f"{nets}:{name}", seed=0, fresh=False, shape=(3, 8, 8))
    assert len(str(caught.value).splitlines()) == 1


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="does not import"):
        find_foreign("no_such_module:make", seed=0, fresh=False, shape=(3, 8, 8))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nets.py:make", "such as nets:make"),
        ("nets.py", "such as nets:make"),
        ("lib/nets.py:Net", "such as nets:Net, in the folder lib"),
    ],
)
def test_a_file_is_told_the_name_of_its_module(given: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"'{given}' is a file; .*{words}$"):
        resolve(given, runs=tmp_path, shape=(3, 8, 8))


def test_a_callable_needs_its_input(nets: str) -> None:
    with pytest.raises(UsageError, match="give --input"):
        find_foreign(f"{nets}:Net", seed=0, fresh=False, shape=None)


def test_timm(libraries: SimpleNamespace, tmp_path: Path) -> None:
    source = resolve("timm:resnet18d", runs=tmp_path, fresh=True)
    assert (source.name, source.shape) == ("timm-resnet18d", (3, 224, 224))
    assert source.preprocessing is not None and len(source.preprocessing["mean"]) == 3
    assert source.words == ("timm:resnet18d", "--seed", "0", "--fresh")
    calibration = source.calibration(None, 64)
    assert calibration is not None and calibration[1] == "synthetic"


def test_timm_refuses(libraries: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="timm has no 'resnet18x'; similar: "):
        find_foreign("timm:resnet18x", seed=0, fresh=True, shape=None)

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to the hub\nand more")

    monkeypatch.setattr(libraries.timm, "create_model", unreachable)
    with pytest.raises(Unavailable, match=r"no route to the hub; .* --fresh"):
        find_foreign("timm:resnet18", seed=0, fresh=False, shape=None)


def test_timm_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Unavailable, match="pip install timm"):
        find_foreign("timm:resnet18", seed=0, fresh=True, shape=None)


Zoo = Callable[..., tuple[int, str, str]]


@pytest.fixture
def zoo(capfd: pytest.CaptureFixture[str]) -> Zoo:
    """A command of zoo, in this process: its exit code, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        return _run(list(words)), *capfd.readouterr()

    return call


def test_the_command_in_the_manifest_builds_it_again(nets: str, zoo: Zoo) -> None:
    """Weights, name and place are the same; the second build replaces the first."""
    code, out, err = zoo(
        *("compile", f"{nets}:Net", "--input", "1x3x8x8", "--seed", "5", "--batch", "1:4"),
        *("--backend", "torchscript", "--precision", "bf16", "--json"),
    )
    assert code == 0, err
    path = Path(json.loads(out)["cells"][0]["path"])
    words = open_artifact(path).manifest["build"]["command"].split()
    assert words[:2] == ["zoo", "compile"]
    _, out, _ = zoo(*words[1:], "--force", "--json")
    cell = json.loads(out)["cells"][0]
    assert Path(cell["path"]) == path and cell["built"]
    _, out, _ = zoo("check", "--json")
    assert {row["total"] for row in json.loads(out)["rows"]} == {None}
    assert "no data" in zoo("check")[1]


def test_int8_wants_images(nets: str, zoo: Zoo, tmp_path: Path) -> None:
    base = ("compile", f"{nets}:Net", "--input", "1x3x8x8", "--backend", "onnx")
    code, _, err = zoo(*base, "--precision", "int8")
    assert code == 4 and "--calibrate" in err
    (tmp_path / "images").mkdir()
    code, _, err = zoo(*base, "--precision", "int8", "--calibrate", "images")
    assert code == 3 and "no images" in err
    from PIL import Image

    for index in range(5):
        Image.new("RGB", (9, 9), (index, 2, 3)).save(tmp_path / "images" / f"{index}.png")
    code, _, err = zoo(*base, "--precision", "int8", "--calibrate", "images")
    assert code == 3 and "5 calibration images are too few" in err
    code, out, err = zoo(*base, "--precision", "all", "--json")
    assert code == 0, err
    cells = json.loads(out)["cells"]
    assert [bool(cell["refused"]) for cell in cells] == [False, False, True]


def test_a_build_that_hangs_is_ended(nets: str, zoo: Zoo, tmp_path: Path) -> None:
    code, _, err = zoo(
        *("compile", f"{nets}:Slow", "--input", "1x3x8x8", "--backend", "torchscript"),
        *("--timeout", "12"),
    )
    assert code == 1, err
    assert "still building after 12 s" in err
    assert not [path for path in tmp_path.rglob("*") if path.name == "manifest.json"]


def test_a_killed_build_leaves_nothing_that_looks_like_an_artifact(
    nets: str, zoo: Zoo, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "zoo", "compile", f"{nets}:Slow", "--input", "1x3x8x8"]
    command += ["--backend", "torchscript"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if b"prepare" in line:
                break
        os.kill(child.pid, signal.SIGKILL)
    left = list((tmp_path / "artifacts").glob("*/*"))
    assert left and all(path.name.startswith(".staging-") for path in left)
    _, listed, _ = zoo("list", "--json")
    assert json.loads(listed)["artifacts"] == []
    code, _, err = zoo("compile", f"{nets}:Net", "--input", "1x3x8x8", "--backend", "torchscript")
    assert code == 0, err


def test_two_commands_at_once_leave_one_whole_artifact(nets: str, tmp_path: Path) -> None:
    words = ["compile", f"{nets}:Net", "--input", "1x3x8x8", "--backend", "torchscript"]
    command = [sys.executable, "-m", "zoo", *words, "--quiet"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(each.wait(), each.communicate()[1]) for each in both] == [(0, b"")] * 2
    (path,) = (tmp_path / "artifacts").glob("*/*")
    open_artifact(path)
