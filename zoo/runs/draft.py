"""Unfinished runs: folders that can be resumed where they stopped, whatever stopped them.

runs/resnet18/20260102-030405/      the place of the finished run
  training.json                     its RunConfig, without the results
  state.safetensors                 weights, optimiser and position after some step
  metrics.csv                       one row for each epoch that is over
  times.csv                         the speed of these epochs, which differs from run to run

state.safetensors is replaced whole, so a killed process leaves the state before. A folder with
config.json is a run (checkpoint.py). Publishing writes it last and then removes the first two.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from compile.files import abandoned, disk_errors, fsync_folder, hold, try_hold, write_atomic
from compile.network.weights import check_finite, weights_sha256
from zoo.errors import BadArtifact, UsageError
from zoo.runs.checkpoint import (
    Run,
    RunConfig,
    check_fits,
    config_text,
    read_config,
)
from zoo.runs.folders import CONFIG, TRAINING, WEIGHTS, unfinished_runs

STATE = "state.safetensors"
METRICS = "metrics.csv"
TIMES = "times.csv"


class Draft:
    """An unfinished run that this process works on, and no other process."""

    def __init__(self, folder: Path, config: RunConfig, lock: int) -> None:
        self.folder = folder
        self.config = config
        self._lock = lock

    @property
    def resumable(self) -> bool:
        """Whether a state was saved."""
        return (self.folder / STATE).exists()

    def release(self) -> None:
        """Unlock the folder. The end of the process unlocks it too."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def save(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Replace the state by a trainer's tensors and its plain data (JSON)."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        text = json.dumps(plain, allow_nan=False)
        metadata = {"plain": text, "sha256": _state_hash(tensors, text)}
        write_atomic(self.folder / STATE, safetensors.torch.save(tensors, metadata))

    def write_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Replace metrics.csv or times.csv."""
        text = io.StringIO()
        if rows:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_atomic(self.folder / name, text.getvalue().encode())


def begin_run(root: str | Path, config: RunConfig) -> Draft:
    """Make the folder of a new run below `root`, named after the model and the time."""
    parent = Path(root) / config.model
    started = datetime.now().strftime("%Y%m%d-%H%M%S")
    with disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = parent / (started if number == 1 else f"{started}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            draft = Draft(folder, config, hold(folder))
            write_atomic(folder / TRAINING, config_text(config).encode())
            return draft
    raise UsageError(f"{parent} already holds 1,000 runs that began at {started}")


def open_draft(path: str | Path) -> Draft:
    """Open an unfinished run; UsageError if there is none or if another process trains it."""
    folder = Path(path)
    if (folder / CONFIG).exists():
        raise UsageError(f"{folder} is finished; `zoo eval {folder}` measures it")
    if not (folder / TRAINING).exists():
        raise UsageError(f"no unfinished run at {folder}; `zoo list` shows those there are")
    config = read_config(folder / TRAINING)
    with disk_errors(folder):
        lock = try_hold(folder)
    if lock is None:
        raise UsageError(f"{folder} is being trained by another process; stop that one first")
    for half_written in folder.glob(".*.tmp"):
        half_written.unlink()
    return Draft(folder, config, lock)


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The last state that was saved in an unfinished run; BadArtifact if it is damaged."""
    path = folder / STATE
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata()
        sound = metadata["sha256"] == _state_hash(tensors, metadata["plain"])
        plain: dict[str, Any] = json.loads(metadata["plain"])
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise BadArtifact(f"{path} cannot be read: {error}; train again") from None
    if not sound:
        raise BadArtifact(f"{path} is damaged: its hash differs; train again")
    return tensors, plain


def _state_hash(tensors: dict[str, Tensor], text: str) -> str:
    return hashlib.sha256(f"{weights_sha256(tensors)} {text}".encode()).hexdigest()


def publish_run(draft: Draft, weights: dict[str, Tensor], config: RunConfig) -> Run:
    """Turn a draft into a run: write its weights, then its config, then remove the rest.

    Raises BadArtifact if the weights are not finite or do not fit the network of the config.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    check_fits(weights, config, "the state dict")
    check_finite(weights, "the state dict")
    config = replace(config, weights_sha256=weights_sha256(weights))
    write_atomic(draft.folder / WEIGHTS, safetensors.torch.save(weights))
    write_atomic(draft.folder / CONFIG, config_text(config).encode())
    with disk_errors(draft.folder):
        for name in (TRAINING, STATE):
            (draft.folder / name).unlink(missing_ok=True)
        fsync_folder(draft.folder)
        fsync_folder(draft.folder.parent)
    draft.release()
    return Run(folder=draft.folder, config=config, weights=weights)


def discard_run(draft: Draft) -> None:
    """Remove a draft. Remove the model's folder too if it is empty then."""
    draft.release()
    shutil.rmtree(draft.folder, ignore_errors=True)
    try:
        draft.folder.parent.rmdir()
    except OSError:
        return  # other runs are there


def save_run(root: str | Path, weights: dict[str, Tensor], config: RunConfig) -> Run:
    """Publish weights that were not trained here as a run, such as an imported checkpoint."""
    draft = begin_run(root, config)
    try:
        return publish_run(draft, weights, config)
    except BaseException:
        discard_run(draft)
        raise


def stale_drafts(root: str | Path, *, resumable: bool) -> list[Path]:
    """Unfinished runs that no process works on.

    With `resumable` these are all of them, else only those without a state to resume from.
    """
    return [
        folder
        for folder in unfinished_runs(root)
        if abandoned(folder) and (resumable or not (folder / STATE).exists())
    ]


def leftovers(root: str | Path) -> list[Path]:
    """Files of training in finished runs, which a kill left after config.json was written."""
    files = (path for name in (TRAINING, STATE) for path in Path(root).glob(f"*/*/{name}"))
    finished = (path for path in files if (path.parent / CONFIG).exists())
    return sorted(path for path in finished if abandoned(path.parent))


def progress_of(folder: Path) -> str:
    """How far an unfinished run is, for lists: `epoch 3 of 24`."""
    try:
        recipe = read_config(folder / TRAINING).recipe or {}
    except BadArtifact:
        return "damaged"
    return f"epoch {len(read_rows(folder / METRICS))} of {recipe.get('epochs')}"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that `write_rows` wrote; none if it is missing."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except OSError:
        return []
