"""Writes a run as weights that torchvision, timm or the Hugging Face hub read with their loaders.

torchvision  <model>-<sha8>.pth          torch.save of the state dict
timm         <model>-<sha8>.safetensors  the same tensors
hf           <model>-<sha8>/             model.safetensors, config.json and README.md: what
                                         timm.create_model("local-dir:...") loads, or "hf-hub:..."
                                         once it is uploaded

The <sha8> of a file is the start of its sha256, as torch.hub expects. The <sha8> of a folder is the
start of the hash of the run's weights. Each appears whole or not at all. Nothing is overwritten.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from compile.files import abandoned, disk_errors, fsync_folder, held, refuse_special, write_atomic
from zoo.errors import UsageError
from zoo.exchange.card import model_card
from zoo.exchange.formats import check_format, sizes, tensors_that_depend_on
from zoo.exchange.preprocessing import CONFIG, crop_share
from zoo.models import info
from zoo.runs.checkpoint import Run

WEIGHTS = "model.safetensors"
_STAGING = ".export-"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, or was already there."""

    path: Path
    """The file or the folder."""
    sha256: str
    """Of the file of weights."""
    written: bool
    """False if the same file was already there."""


def export_run(run: Run, wanted: str, out: str | Path, *, license_: str = "unknown") -> Exported:
    """Write the weights of a run below the folder `out` in the format `wanted`.

    `license_` is an identifier of the hub's list, such as bsd-3-clause. Only `hf` records it.
    Raises UsageError for an unknown format, for a network that the other library lacks, and if
    something else is in the place. Raises Unavailable if the place cannot be written.
    """
    check_format(run.config, wanted)
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,63}", license_):
        raise UsageError(f"--license '{license_}' is not an identifier such as bsd-3-clause or mit")
    root = Path(out)
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
    # A built network gives the right order, and the version marks that torch's batch norms read.
    state = run.build().state_dict()
    if wanted == "hf":
        return _write_folder(run, state, root, license_)
    if wanted == "torchvision":
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content, suffix = buffer.getvalue(), "pth"
    else:
        content, suffix = safetensors.torch.save(dict(state), {"format": "pt"}), "safetensors"
    sha256 = hashlib.sha256(content).hexdigest()
    path = root / f"{run.config.model}-{sha256[:8]}.{suffix}"
    refuse_special(path)
    if path.exists():
        if path.read_bytes() != content:
            raise UsageError(f"{path} exists and is damaged; remove it, or give another --out")
        return Exported(path=path, sha256=sha256, written=False)
    write_atomic(path, content)
    return Exported(path=path, sha256=sha256, written=True)


def timm_config(run: Run) -> dict[str, Any]:
    """The content of config.json, in the form that timm's loaders read."""
    config = run.config
    classes, channels = sizes(config)
    head = tensors_that_depend_on(config.model, "num_classes", {})
    (first,) = tensors_that_depend_on(config.model, "in_channels", {})
    weight = next(iter(head))
    own: dict[str, Any] = {
        "custom_load": False,
        "fixed_input_size": False,
        "num_classes": classes,
        "input_size": [channels, *info(config.model).shape[1:]],
        "pool_size": None,
        "first_conv": first.removesuffix(".weight"),
        "classifier": weight.removesuffix(".weight"),
    }
    pixels = config.preprocessing
    if pixels is not None:
        own |= {
            "input_size": [pixels["channels"], pixels["height"], pixels["width"]],
            "crop_pct": crop_share(pixels),
            "crop_mode": "center",
            "interpolation": pixels.get("interpolation", "bilinear"),
            "mean": pixels["mean"],
            "std": pixels["std"],
        }
    content: dict[str, Any] = {
        "architecture": config.model,
        "num_classes": classes,
        "num_features": run.weights[weight].shape[1],
        "global_pool": "avg",
    }
    if config.classes and config.classes != [str(index) for index in range(len(config.classes))]:
        content["label_names"] = config.classes
    return content | {"pretrained_cfg": own}


def _write_folder(run: Run, state: dict[str, Tensor], root: Path, license_: str) -> Exported:
    final = root / f"{run.config.model}-{run.config.weights_sha256[:8]}"
    content = safetensors.torch.save(dict(state), {"format": "pt"})
    files = {
        WEIGHTS: content,
        CONFIG: (json.dumps(timm_config(run), indent=2, allow_nan=False) + "\n").encode(),
        "README.md": model_card(run, final.name, license_).encode(),
    }
    _sweep(root)
    if os.path.lexists(final):
        raise UsageError(f"{final} exists already; remove it, or give another --out")
    with disk_errors(final):
        staged = Path(tempfile.mkdtemp(prefix=_STAGING, dir=root))
        try:
            with held(staged):
                staged.chmod(0o755)
                for name, each in files.items():
                    write_atomic(staged / name, each)
                staged.rename(final)  # fails if a full folder has appeared there
                fsync_folder(root)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return Exported(path=final, sha256=hashlib.sha256(content).hexdigest(), written=True)


def _sweep(root: Path) -> None:
    """Remove the folders that killed exports left."""
    for left in root.glob(f"{_STAGING}*"):
        if left.is_dir() and abandoned(left):
            shutil.rmtree(left, ignore_errors=True)
