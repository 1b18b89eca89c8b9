"""The folders of runs below a root, told apart by the files in them. Nothing here needs torch."""

from __future__ import annotations

import glob
from pathlib import Path

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
"""What makes a folder a run."""
TRAINING = "training.json"
"""What an unfinished run has in its place."""


def list_runs(root: str | Path = "runs", model: str | None = None) -> list[Path]:
    """Folders of complete runs below `root`, oldest first; only of `model` where it is given."""
    pattern = f"{glob.escape(model) if model else '*'}/*/{CONFIG}"
    found = [path.parent for path in Path(root).glob(pattern) if path.parent.name[0] != "."]
    return sorted(found, key=lambda folder: (_started(folder.name), folder.parent.name))


def _started(name: str) -> tuple[str, int]:
    """Order `20260102-030405-10` after `20260102-030405-2`."""
    day, _, rest = name.partition("-")
    clock, _, number = rest.partition("-")
    return f"{day}-{clock}", int(number) if number.isdecimal() else 1


def unfinished_runs(root: str | Path = "runs") -> list[Path]:
    """Folders below `root` that hold no run yet, sorted by name; some may be in training."""
    found = (path.parent for path in Path(root).glob(f"*/*/{TRAINING}"))
    return sorted(folder for folder in found if not (folder / CONFIG).exists())
