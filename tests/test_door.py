"""`import zoo`: what it offers, that it costs little, and which files of its names harm it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import zoo
from tests.support.layout import ROOT
from zoo.errors import BadArtifact, UsageError
from zoo.runs.checkpoint import Run

FUNCTIONS = [name for name in zoo.__all__ if name[0].islower()]


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python that finds zoo where this one does, with `cwd` in front of everything."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A resnet20, trained for one epoch on 64 drawn images of four classes."""
    return zoo.train(
        "resnet20",
        data="synthetic:4:64",
        size=8,
        epochs=1,
        settings={"batch": 16},
        options={"shortcut": "B"},
        root=tmp_path_factory.mktemp("runs"),
        quiet=True,
    )


@pytest.fixture(scope="module")
def artifact(run: Run, runner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That network, for batches of 1 to 4, for torchscript."""
    root = tmp_path_factory.mktemp("artifacts")
    result = zoo.compile(run, backend="torchscript", batch=(1, 4), root=root, runner=runner)
    return result.path


def test_importing_zoo_and_listing_its_networks_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, zoo; assert len(zoo.list_models()) > 100; zoo.info('resnet50'); dir(zoo); "
        "print({'torch', 'numpy', 'typer'} & set(sys.modules))"
    )
    done = python("-c", code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_type_checker_sees_every_name() -> None:
    tree = ast.parse(Path(zoo.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imported = guarded.body[0]
    assert isinstance(imported, ast.ImportFrom) and imported.module == "zoo.api"
    assert sorted(alias.name for alias in imported.names) == sorted(zoo.__all__)
    assert set(zoo.__all__) <= set(dir(zoo))
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package in ("zoo", "compile"):
        assert (
            "py.typed" in data["package-data"][package] and (ROOT / package / "py.typed").exists()
        )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented(name: str) -> None:
    function = getattr(zoo, name)
    parameters = list(inspect.signature(function).parameters.values())
    assert ">>> " in inspect.getdoc(function) and function.__name__ == name
    assert not [p.name for p in parameters[1:] if p.kind is p.POSITIONAL_OR_KEYWORD]


def test_an_unknown_name_is_answered() -> None:
    with pytest.raises(AttributeError, match=r"zoo has no 'evaluate'; it has: .*train"):
        zoo.evaluate  # noqa: B018


def test_no_module_has_the_name_of_a_function() -> None:
    modules = [module.name for module in pkgutil.walk_packages(zoo.__path__, "zoo.")]
    for name in modules:
        if name != "zoo.__main__":
            importlib.import_module(name)
    assert not {f"zoo.{name}" for name in FUNCTIONS} & set(modules)
    assert all(callable(getattr(zoo, name)) for name in FUNCTIONS)


def test_networks_by_name() -> None:
    assert zoo.list_models("resnext50_*") == ["resnext50_32x4d"]
    assert zoo.list_models("110", family="cifar") == ["resnet110"]
    assert zoo.list_models("vgg") == []
    with pytest.raises(UsageError, match="unknown family 'vgg'; choose one of: antialiased, "):
        zoo.list_models(family="vgg")
    assert zoo.info("resnet18").depth == 18
    assert zoo.build("resnet18", num_classes=10, stem="small").fc.out_features == 10


def test_training_again_only_if_needed(run: Run) -> None:
    again = {"data": "synthetic:4:64", "size": 8, "epochs": 1, "settings": {"batch": 16}}
    again |= {"options": {"shortcut": "B"}, "root": run.folder.parents[1], "quiet": True}
    assert zoo.train("resnet20", if_needed=True, **again).folder == run.folder
    assert run.config.options["shortcut"] == "B"
    with pytest.raises(UsageError, match="unknown model 'resnet21'"):
        zoo.train("resnet21")


def test_an_artifact_as_a_function(artifact: Path, run: Run, tmp_path: Path) -> None:
    classifier = zoo.load(artifact)
    assert (classifier.backend, classifier.precision) == ("torchscript", "fp32")
    assert (classifier.shape, classifier.batch) == ((3, 8, 8), (1, 4))
    assert classifier.classes == tuple(run.config.classes or [])
    assert classifier.preprocessing == run.config.preprocessing
    images = torch.randn(3, *classifier.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(classifier(images), run.build()(images), rtol=1e-4, atol=1e-4)
    with pytest.raises(BadArtifact, match=r"batch is 5; the artifact answers 1\.\.4"):
        classifier(torch.zeros(5, *classifier.shape))
    with pytest.raises(BadArtifact, match="float64; give float32"):
        classifier(torch.zeros(1, *classifier.shape).double())
    Image.new("RGB", (20, 10), "red").save(tmp_path / "red.png")
    assert classifier.predict(tmp_path / "red.png")[0] in run.config.classes


def test_proving_and_measuring(artifact: Path) -> None:
    images = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = zoo.check(
        artifact, data=(images, zoo.load(artifact)(images[:4]).argmax(1).repeat(3)[:10])
    )
    assert {row.verdict for row in rows} == {"PASSED"} and rows[0].total == 10
    assert rows[0].correct is not None and rows[0].correct >= 4
    report = zoo.bench(artifact, iterations=3, threads=1)
    assert report["python"]["latency_ms"]["n"] == 3


def test_a_module_of_ones_own(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).eval()
    with pytest.raises(UsageError, match=r"Sequential has no input shape .* give shape="):
        zoo.compile(network, backend="eager", root=tmp_path)
    first, second = (
        zoo.compile(network, shape=(3, 2, 2), name="mine", backend="eager", root=tmp_path)
        for _ in range(2)
    )
    assert first.built and not second.built and first.path == second.path
    assert first.path.parent.name.startswith("mine-")
    classifier = zoo.load(first.path)
    assert (classifier.classes, classifier.shape) == (None, (3, 2, 2))
    with pytest.raises(UsageError, match="names no classes"):
        classifier.predict("a.png")


STRANGER = "raise SystemExit('the wrong compile.py ran')\n"


def test_a_file_compile_py_in_the_working_folder_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "compile.py").write_text(STRANGER)
    done = python("-m", "zoo", "--version", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith(f"zoo {zoo.__version__}"), done.stderr
    (tmp_path / "script.py").write_text(
        "import zoo.errors\nprint(len(zoo.list_models('resnet18')))"
    )
    done = python("script.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_a_script_may_be_called_compile_py(tmp_path: Path) -> None:
    (tmp_path / "compile.py").write_text("import zoo.errors\nprint(zoo.info('resnet18').depth)")
    done = python("compile.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "18\n"), done.stderr


def test_another_compile_that_is_in_use_is_named(tmp_path: Path) -> None:
    (tmp_path / "compile.py").write_text("mine = 1\n")
    done = python("-c", "import compile, zoo", cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and str(tmp_path / "compile.py") in last
    assert last.startswith("ImportError: ") and "rename that file, or import zoo first" in last
