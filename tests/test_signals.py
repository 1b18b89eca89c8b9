"""Ctrl-C and SIGTERM: exit codes, what is said, what is left behind, what can be resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def zoo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zoo", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def interrupted(name: str, arguments: list[str], ready: str, root: Path) -> tuple[int, str]:
    """Exit code and stderr of a command that gets a signal once `ready` is below `root`."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    deadline = time.monotonic() + 60
    while not list(root.glob(ready)) and time.monotonic() < deadline:
        time.sleep(0.05)  # polls the other process
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=60)
    return process.returncode, err


SIGNALS = [("SIGINT", 130), ("SIGTERM", 143)]


@pytest.mark.parametrize(("name", "code"), SIGNALS)
def test_an_interrupted_build_leaves_nothing_behind(name: str, code: int, tmp_path: Path) -> None:
    arguments = [
        *("compile", "resnet152", "--fresh", "--input", "1x3x64x64", "--backend", "onnx"),
        *("--out", str(tmp_path), "--runs", str(tmp_path)),
    ]
    returned, err = interrupted(name, arguments, "*/.*", tmp_path)
    assert returned == code, err
    assert err.strip().splitlines()[-1].startswith(f"zoo: stopped by {name}; what was half-made")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("name", "code"), SIGNALS)
def test_an_interrupted_training_can_be_resumed(name: str, code: int, tmp_path: Path) -> None:
    train = ["train", "resnet20", "--data", "synthetic", "--size", "8", "--out", str(tmp_path)]
    returned, err = interrupted(name, [*train, "--epochs", "9999"], "*/*/metrics.csv", tmp_path)
    assert returned == code, err
    (folder,) = tmp_path.glob("resnet20/*")
    assert err.splitlines()[-1].endswith(f"; resume with `zoo train --resume {folder}`")
    listed = zoo("list", "--json", "--runs", str(tmp_path), "--out", str(tmp_path))
    assert json.loads(listed.stdout)["unfinished"] == [str(folder)]
    assert zoo("clean", "--runs", str(tmp_path)).returncode == 0
    assert folder.exists(), "what can be resumed is kept"
    changed = json.loads((folder / "training.json").read_text())
    changed["recipe"]["epochs"] = 1 + len((folder / "metrics.csv").read_text().splitlines())
    (folder / "training.json").write_text(json.dumps(changed))
    resumed = zoo("train", "--resume", str(folder))
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.startswith(f"trained {folder}: test accuracy")


def test_a_signal_to_the_whole_group_saves_too(tmp_path: Path) -> None:
    """As torchrun, `timeout` and service managers send it: the loading processes get it as well."""
    from PIL import Image

    for number in range(16):
        folder = tmp_path / "images" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 9, 50, 99)).save(folder / f"{number}.png")
    root = Path(__file__).parent.parent
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "zoo", "train", "resnet20", "--size", "8", "--epochs", "9999"),
            *("--data", str(tmp_path / "images"), "--set", "area=0.5,1", "--set", "batch=4"),
            *("--workers", "1", "--out", str(tmp_path / "runs")),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("runs/*/*/metrics.csv")) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert [int(worker) for worker in workers if os.getpgid(int(worker)) != process.pid]
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "; resume with `zoo train --resume" in err.splitlines()[-1]


def test_a_signal_that_meets_generated_code_ends_with_its_own_code(tmp_path: Path) -> None:
    """Imports run text with exec; an interrupt that passes through one must not lose its code."""
    (tmp_path / "interrupted.py").write_text(
        "import os, signal, zoo.cli\n"
        "stop = 'os.kill(os.getpid(), signal.SIGTERM); signal.pause()'\n"
        "zoo.cli.app = lambda *arguments, **options: exec(stop)\n"
        "zoo.cli.main()\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])
    process = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 143, process.stderr
