"""Processes that train together: what they compute is what one process computes in parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoo.data import load
from zoo.errors import UsageError
from zoo.models import build
from zoo.runs.checkpoint import load_run
from zoo.training.recipe import Recipe
from zoo.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
RECIPE = {"epochs": 1, "batch": 32, "lr": 0.02, "average": 0.0, "zero_init_residual": False}

# What each process of a group does: two steps; the leader writes losses, gradients and weights.
WORKER = """
import json, sys
import torch
from zoo.data import load
from zoo.models import build
from zoo.training.parallel import join
from zoo.training.recipe import Recipe
from zoo.training.trainer import Trainer

torch.set_num_threads(1)
with join("cpu") as group:
    data = load("synthetic", size=8, channels=1, seed=0)
    network = build("resnet20", seed=0, in_channels=1, num_classes=len(data.classes))
    trainer = Trainer(network, data, Recipe(**json.loads(sys.argv[2])), seed=0, group=group)
    losses = []
    for _ in zip(range(2), trainer.take_steps()):
        losses.append(trainer.position.loss_sum / trainer.position.seen)
    if group.leader:
        grads = {name: p.grad for name, p in network.named_parameters()}
        torch.save({"losses": losses, "grads": grads, "weights": network.state_dict()}, sys.argv[1])
"""


def launch(processes: int, *command: str, timeout: int = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), *command),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_two_processes_match_one_that_accumulates_two_parts(tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    result = launch(2, str(worker), str(tmp_path / "two.pt"), json.dumps(RECIPE))
    assert result.returncode == 0, result.stderr
    one = [sys.executable, str(worker), str(tmp_path / "one.pt")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*one, json.dumps({**RECIPE, "accumulate": 2})], check=True, env=environment)
    two, alone = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("two", "one"))
    assert two["losses"] == pytest.approx(alone["losses"], rel=1e-6)
    for name, gradient in alone["grads"].items():
        scale = gradient.abs().max()
        assert (two["grads"][name] - gradient).abs().max() <= 1e-4 * scale, name
    # One part is not two: the comparison can fail.
    subprocess.run([*one, json.dumps(RECIPE)], check=True, env=environment)
    whole = torch.load(tmp_path / "one.pt", weights_only=True)
    assert whole["losses"] != pytest.approx(alone["losses"], rel=1e-6)


def test_the_command_under_torchrun_writes_one_run(tmp_path: Path) -> None:
    command = ["-m", "zoo", "train", "resnet20", "--data", "synthetic", "--size", "8"]
    result = launch(2, *command, "--epochs", "1", "--set", "batch=32", "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("trained") == 1
    (folder,) = (tmp_path / "resnet20").iterdir()
    assert load_run(folder).config.processes == 2


def test_too_many_parts_for_a_step() -> None:
    data = load("synthetic", size=8, channels=1, seed=0)
    network = build("resnet20", seed=0, in_channels=1, num_classes=len(data.classes))
    with pytest.raises(UsageError, match="cannot be dealt out to 4 parts"):
        Trainer(network, data, Recipe(batch=6, accumulate=4), seed=0)
