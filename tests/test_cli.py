"""The command line: exit codes, one-line errors, clean JSON, signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from compile.artifact.manifest import Manifest
from tests.support.forgery import rewrite
from zoo.cli import _run
from zoo.cli.cells import Cell, compile_table
from zoo.data import load
from zoo.training.recipe import Recipe
from zoo.training.train import Work, train


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one short run of resnet18 and its TorchScript artifact."""
    folder = tmp_path_factory.mktemp("home")
    recipe, quiet = Recipe(epochs=1), Work(quiet=True)
    train("resnet18", load("digits"), recipe=recipe, out=folder / "runs", work=quiet)
    assert _run(["compile", "--backend", "torchscript", *places(folder), "--quiet"]) == 0
    return folder


def places(home: Path) -> list[str]:
    return ["--runs", str(home / "runs"), "--out", str(home / "artifacts")]


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "NO_COLOR": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )


BAD = {
    "no such command": (["frobnicate"], 2),
    "no such flag": (["compile", "--frob"], 2),
    "no such backend": (["compile", "--backend", "tflite"], 2),
    "no such precision": (["compile", "--precision", "fp7"], 2),
    "precision of another backend": (["compile", "--backend", "onnx", "--precision", "bf16"], 2),
    "no such model": (["train", "resnet19"], 2),
    "no such device": (["compile", "--device", "tpu"], 2),
    "no run": (["eval", "--runs", "nowhere"], 2),
    "no artifact": (["check", "--out", "nowhere"], 2),
    "no such folder": (["inspect", "nowhere"], 2),
    "no number": (["train", "resnet18", "--epochs", "many"], 2),
    "bad batch": (["compile", "resnet18", "--fresh", "--batch", "64:1"], 2),
    "bad shape": (["compile", "resnet18", "--fresh", "--input", "3x8"], 2),
    "no such data": (["train", "resnet18", "--data", "nowhere"], 2),
    "no such runner": (["check", "--runner", "nowhere"], 4),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_one_line_with_a_code(
    name: str, home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    arguments, code = BAD[name]
    assert _run(arguments) == code
    out, err = capfd.readouterr()
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("zoo: ")
    assert "Traceback" not in out + err


_WITHOUT_TORCH = """
import sys
from zoo.cli import _run
from zoo.cli.cells import Cell, compile_table
code = _run(sys.argv[1:])
heavy = {"torch", "numpy", "onnx"} & set(sys.modules)
sys.exit(f"{code}, but imported {heavy}" if heavy else code)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["compile", "--help"], 0),
        (["compile", "--frob"], 2),
        (["compile", "--backend", "tensorrt", "--device", "cpu"], 2),
        (["list"], 0),
        (["list", "resnet50*", "--json"], 0),
    ],
)
def test_quick_answers_need_no_torch(arguments: list[str], code: int, tmp_path: Path) -> None:
    done = python("-c", _WITHOUT_TORCH, *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr


def test_tensorrt_without_a_gpu_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = python("-c", _WITHOUT_TORCH, "compile", "--backend", "tensorrt", cwd=tmp_path)
    assert done.returncode == 4
    assert "NVIDIA" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_json_is_one_document_and_nothing_else(
    home: Path, capfd: pytest.CaptureFixture[str], runner: Path
) -> None:
    out = ["--out", str(home / "artifacts")]
    runs = ["--runs", str(home / "runs")]
    artifact = next((home / "artifacts").glob("*/torchscript*"))
    for arguments in (
        ["list", *runs, *out],
        ["eval", *runs],
        ["compile", "--backend", "torchscript", *runs, *out],
        ["check", *runs, *out, "--runner", str(runner)],
        ["inspect", str(artifact)],
        ["doctor"],
        ["clean", *runs, *out],
        ["bench", *out, "--duration", "0.05", "--iterations", "5", "--runner", str(runner)],
    ):
        capfd.readouterr()
        assert _run([*arguments, "--json"]) == 0, arguments
        assert isinstance(json.loads(capfd.readouterr().out), dict)


def test_tables_fit_eighty_columns(
    home: Path, capfd: pytest.CaptureFixture[str], runner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = ["--out", str(home / "artifacts")]
    runs = ["--runs", str(home / "runs")]
    artifact = str(next((home / "artifacts").glob("*/torchscript*")))
    for arguments in (
        ["check", *runs, *out, "--runner", str(runner)],
        ["bench", *out, "--iterations", "100", "--threads", "1", "--runner", str(runner)],
        ["inspect", artifact],
        ["doctor"],
    ):
        capfd.readouterr()
        assert _run(arguments) == 0
        printed = capfd.readouterr().out
        long = [line for line in printed.splitlines() if len(line) > 80 and str(home) not in line]
        assert not long
        assert "…" not in printed, "a cell was cut"


def checked(home: Path, runner: Path, capfd: pytest.CaptureFixture[str], *more: str) -> dict:  # type: ignore[type-arg]
    """The document of `zoo check` over the artifact in `home`."""
    capfd.readouterr()
    out = ["--out", str(home / "artifacts")]
    assert _run(["check", *out, "--runner", str(runner), "--json", *more]) == 0
    return json.loads(capfd.readouterr().out)


def test_check_counts_test_images_against_float64(
    home: Path, runner: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = str(home / "runs")
    document = checked(home, runner, capfd, "--runs", runs, "--images", "50", "--calls", "20")
    assert document["no_data"] == {}
    assert {row["ran_in"] for row in document["rows"]} == {"torch", "zoo-run"}
    for row in document["rows"]:
        assert 40 <= row["total"] <= 50
        against = row["accuracy"]["float64"]
        assert row["correct"] == against["correct"] - against["lost"] + against["won"]
        assert row["determinism"]["calls"] == 20
        assert (row["same_bits"] is None) is (row["ran_in"] == "torch")


def test_check_says_why_there_are_no_test_images(
    home: Path, runner: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "runs").rename(home / "gone")
    try:
        document = checked(home, runner, capfd, "--runs", str(home / "runs"))
    finally:
        (home / "gone").rename(home / "runs")
    (why,) = document["no_data"].values()
    assert why.startswith(f"its run {home / 'runs'}") and why.endswith("is gone")
    assert all(row["accuracy"] is None for row in document["rows"])


def test_a_damaged_artifact_stops_check_with_three(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import shutil

    root = Path(shutil.copytree(home / "artifacts", tmp_path / "artifacts"))
    golden = next(root.glob("*/*/golden.safetensors"))
    content = bytearray(golden.read_bytes())
    content[len(content) // 2] ^= 1
    golden.write_bytes(content)
    assert _run(["check", "--all", "--out", str(root), "--quiet"]) == 3
    assert "golden.safetensors" in capfd.readouterr().err
    (golden.parent / "manifest.json").unlink()
    assert _run(["check", "--all", "--out", str(root), "--quiet"]) == 3


def test_an_artifact_for_another_machine_can_be_inspected_and_handed_over(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import shutil

    built = next((home / "artifacts").glob("*/torchscript*"))
    artifact = Path(shutil.copytree(built, tmp_path / built.name))

    def retarget(manifest: Manifest) -> None:
        manifest["requirements"]["isa"] = manifest["target"]["cpuid"] = ["avx1024"]

    rewrite(artifact, retarget)
    assert _run(["inspect", str(artifact)]) == 0
    printed = capfd.readouterr().out
    assert "here" in printed and "avx1024" in printed and "next:" not in printed
    assert _run(["export", str(artifact), "--triton", str(tmp_path / "models")]) == 0
    assert _run(["check", str(artifact), "--quiet"]) == 3


def test_clean_removes_artifacts_and_nothing_else(home: Path, tmp_path: Path) -> None:
    import shutil

    root = Path(shutil.copytree(home / "artifacts", tmp_path / "artifacts"))
    (root / "photos" / "cats").mkdir(parents=True)
    places = ["--out", str(root), "--runs", str(tmp_path / "runs")]
    assert _run(["clean", *places, "--json"]) == 0
    artifact = next(root.glob("*/torchscript-*-cpu"))
    for beside in (f"proof-{artifact.name}.json", f"bisect-{artifact.name}.png"):
        artifact.with_name(beside).touch()
    assert _run(["clean", "--all-artifacts", *places, "--json"]) == 0
    assert [path.relative_to(root).as_posix() for path in root.glob("*/*")] == ["photos/cats"]


def test_an_output_that_is_a_file(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    runs = ["--runs", str(home / "runs")]
    file = str(tmp_path / "file")
    assert _run(["compile", "--backend", "torchscript", *runs, "--out", file, "--quiet"]) == 4
    assert _run(["train", "resnet18", "--epochs", "1", "--out", file, "--quiet"]) == 4
    assert (tmp_path / "file").read_text() == "mine"


def test_the_table_says_what_failed_its_proof() -> None:
    cell = Cell(backend="torch-compile", precision="fp32", device="cpu")
    manifest = {
        "status": "accepted",
        "device": "cpu",
        "target": {"name": "any"},
        "outputs": [{"name": "logits", "shape": [10]}],
        "programs": [{"file": "model.pt2"}],
        "files": {"model.pt2": {"size": 2_000_000}, "golden.safetensors": {"size": 5}},
    }
    cell.note(Path("artifacts/net-12345678/leaf"), manifest, built=True, seconds=100.0)
    console = Console(width=80)
    with console.capture() as capture:
        for line in compile_table([cell]):
            console.print(line)
    printed = capture.get()
    assert "2.0 MB  100.0 s  built, FAILED its proof" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_predict_names_a_digit(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import numpy
    from PIL import Image
    from sklearn.datasets import load_digits

    pixels = load_digits().images[0] * 15.9
    Image.fromarray(pixels.astype(numpy.uint8)).save(tmp_path / "zero.png")
    run = str(next((home / "runs" / "resnet18").iterdir()))
    assert _run(["predict", run, str(tmp_path / "zero.png")]) == 0
    assert "zero.png: " in capfd.readouterr().out
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert _run(["predict", run, str(tmp_path / "bad.png")]) == 3
