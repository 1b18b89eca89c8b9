"""Nothing is lost: killed at any moment and resumed, a training ends with the same bits."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from zoo.data import Data, load
from zoo.errors import BadArtifact, CheckFailed, UsageError
from zoo.runs.checkpoint import Run, load_run
from zoo.runs.draft import (
    METRICS,
    STATE,
    TRAINING,
    open_draft,
    read_state,
    stale_drafts,
    unfinished_runs,
)
from zoo.training import trainer
from zoo.training.recipe import Recipe
from zoo.training.train import Work, resume, train

# Everything that has a state: momentum, an average, dropped paths, mixing, two parts.
RECIPE = Recipe(
    epochs=16, batch=16, accumulate=2, lr=0.02, mixup=0.2, cutmix=1.0, erase=0.2, drop_path=0.2
)
EVERY_STEP = Work(save_every=0.0, quiet=True)


def images() -> Data:
    return load("synthetic:4:128", size=8, channels=1, seed=0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads that wait for each other on a busy machine would take most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def go_on(root: Path, recipe: Recipe) -> None:
    """Begin or go on, in a process that will be killed."""
    torch.set_num_threads(1)
    found = unfinished_runs(root)
    if found:
        resume(found[0], images(), work=EVERY_STEP)
    else:
        train("resnet20", images(), recipe=recipe, out=root, work=EVERY_STEP)


def finished(root: Path) -> Run | None:
    found = list(root.glob("*/*/config.json"))
    return load_run(found[0].parent) if found else None


def undisturbed(root: Path, recipe: Recipe) -> Run:
    """The same training in one go, in a process like those that are killed."""
    process = server().Process(target=go_on, args=(root, recipe))
    process.start()
    process.join()
    run = finished(root)
    assert run is not None
    return run


def wait_for_a_step(process: BaseProcess, root: Path) -> None:
    """Poll until the process has saved a state or ended: a kill meets training, not its start."""
    started = time.time()
    deadline = started + 60
    while process.is_alive() and time.time() < deadline:
        if any(path.stat().st_mtime > started for path in root.glob(f"*/*/{STATE}")):
            return
        time.sleep(0.002)


def server() -> multiprocessing.context.ForkServerContext:
    """Processes that start with everything imported, so that a kill meets training."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["zoo.training.train"])
    return context


@pytest.mark.parametrize(
    ("optimizer", "most"),
    [("sgd", 4), ("lamb", 2), pytest.param("sgd", 20, marks=pytest.mark.slow)],
)
def test_killed_at_random_points_it_ends_with_the_same_bits(
    optimizer: str, most: int, tmp_path: Path
) -> None:
    recipe = RECIPE if optimizer == "sgd" else Recipe(epochs=8, batch=16, optimizer="lamb", lr=0.01)
    whole = undisturbed(tmp_path / "whole", recipe)
    draw = random.Random(0)
    kills = 0
    while finished(tmp_path / "killed") is None:
        process = server().Process(target=go_on, args=(tmp_path / "killed", recipe))
        process.start()
        if kills < most:
            wait_for_a_step(process, tmp_path / "killed")
            process.join(timeout=draw.uniform(0, 0.15))
            process.kill()
            kills += 1
        process.join()
        assert kills < most or process.exitcode in (0, -signal.SIGKILL), "it must go on"
    run = finished(tmp_path / "killed")
    assert run is not None
    assert kills == most, "the kills must meet the training"
    assert run.config.weights_sha256 == whole.config.weights_sha256
    metrics = [(folder / "metrics.csv").read_bytes() for folder in (run.folder, whole.folder)]
    assert metrics[0] == metrics[1]
    assert sorted(path.name for path in run.folder.iterdir()) == [
        *("config.json", "metrics.csv", "times.csv", "weights.safetensors")
    ]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_saves_the_state_first(
    name: str, tmp_path: Path, later: Callable[[], None]
) -> None:
    def handler(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signum = getattr(signal, name)
    before = signal.signal(signum, handler)

    def interrupt() -> None:
        deadline = time.time() + 60
        while not list(tmp_path.glob(f"*/*/{METRICS}")) and time.time() < deadline:
            time.sleep(0.05)  # polls the main thread, which trains
        os.kill(os.getpid(), signum)

    threading.Thread(target=interrupt, daemon=True).start()
    long = Recipe(epochs=1000, batch=16)
    try:
        with pytest.raises(KeyboardInterrupt, match="zoo train --resume"):
            train("resnet20", images(), recipe=long, out=tmp_path, work=Work(quiet=True))
    finally:
        signal.signal(signum, before)
    (folder,) = unfinished_runs(tmp_path)
    _, plain = read_state(folder)
    assert plain["position"]["epoch"] >= 1, "more than the state that it began with"
    assert stale_drafts(tmp_path, resumable=False) == []
    later()
    assert stale_drafts(tmp_path, resumable=True) == [folder]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training whose third step has a loss that is not finite."""
    root = tmp_path_factory.mktemp("stopped")
    factors = iter([1.0, 1.0, math.inf])
    whole = trainer.loss_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "loss_of", lambda *given: whole(*given) * next(factors))
        with pytest.raises(CheckFailed, match=r"epoch 1, step 3 of 8.* last good state is in"):
            train("plain20", images(), recipe=Recipe(batch=16), out=root, work=EVERY_STEP)
    return unfinished_runs(root)[0]


def test_a_non_finite_loss_leaves_the_last_good_state(stopped: Path) -> None:
    tensors, plain = read_state(stopped)
    assert all(bool(torch.isfinite(value).all()) for value in tensors.values())
    assert plain["position"]["step"] == 2


def test_what_cannot_be_resumed_is_named(stopped: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no unfinished run"):
        resume(tmp_path, images())
    other = images()
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    fewer = load("digits")
    with pytest.raises(BadArtifact, match="other data"):
        resume(folder, fewer)
    draft = open_draft(folder)
    with pytest.raises(UsageError, match="another process"):
        resume(folder, other)
    draft.release()
    training = json.loads((folder / TRAINING).read_text())
    (folder / TRAINING).write_text(json.dumps(training | {"processes": 2}))
    with pytest.raises(UsageError, match="torchrun --nproc-per-node 2 -m zoo train --resume"):
        resume(folder, other)
    for field, value in (("recipe", [1]), ("recipe", {"epochs": "x"}), ("seed", None)):
        (folder / TRAINING).write_text(json.dumps(training | {field: value}))
        with pytest.raises(BadArtifact):
            resume(folder, other)
    (folder / TRAINING).write_text(json.dumps(training | {"model": "plain32"}))
    with pytest.raises(BadArtifact, match="does not belong to this training run"):
        resume(folder, other)
    (folder / TRAINING).write_text(json.dumps(training))
    state = bytearray((folder / STATE).read_bytes())
    state[len(state) // 2] ^= 1
    (folder / STATE).write_bytes(state)
    with pytest.raises(BadArtifact, match="damaged"):
        resume(folder, other)
    (folder / TRAINING).write_text("{}")
    with pytest.raises(BadArtifact, match=r"training\.json"):
        resume(folder, other)
