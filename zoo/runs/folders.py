"""Finds the folders of runs, and tells them apart by their files. Nothing here needs torch."""

from __future__ import annotations

import glob
from pathlib import Path

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
"""The file that makes a folder a run."""
TRAINING = "training.json"
"""The file that an unfinished run has instead."""


def list_runs(root: str | Path = "runs", model: str | None = None) -> list[Path]:
    """Folders of complete runs below `root`, oldest first. With `model`, only its runs."""
    pattern = f"{glob.escape(model) if model else '*'}/*/{CONFIG}"
    folders = [path.parent for path in Path(root).glob(pattern) if path.parent.name[0] != "."]
    return sorted(folders, key=lambda folder: (_started(folder.name), folder.parent.name))


def _started(name: str) -> tuple[str, int]:
    """A key that sorts `20260102-030405-10` after `20260102-030405-2`."""
    day, _, rest = name.partition("-")
    clock, _, number = rest.partition("-")
    return f"{day}-{clock}", int(number) if number.isdecimal() else 1


def unfinished_runs(root: str | Path = "runs") -> list[Path]:
    """Folders of unfinished runs below `root`, sorted by name. Some may be in training now."""
    folders = (path.parent for path in Path(root).glob(f"*/*/{TRAINING}"))
    return sorted(folder for folder in folders if not (folder / CONFIG).exists())
