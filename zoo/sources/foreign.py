"""Networks that are not ours: `timm:NAME`, and `package.module:callable`.

Both are code of others that is imported and run, as the user asked for by name.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compile.errors import first_line
from zoo.data import Preprocessing
from zoo.errors import CheckFailed, Unavailable, UsageError
from zoo.models.calibration import calibrate_batch_norms

Shape = tuple[int, int, int]

_CALLABLE = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<name>\w+(\.\w+)*)")


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A network of others, ready to be compiled."""

    name: str
    network: nn.Module
    shape: Shape
    """What was asked for, or what it was made for."""
    native: Shape | None
    """What it was made for, if it says so."""
    origin: str
    preprocessing: Preprocessing | None = None


def is_foreign(model: str) -> bool:
    """Whether MODEL has one of the two forms."""
    return model.startswith("timm:") or _CALLABLE.fullmatch(model) is not None


def find_foreign(model: str, *, seed: int, fresh: bool, shape: Shape | None) -> Foreign:
    """The network that MODEL names, in evaluation mode.

    Raises UsageError for a name that is not there or a shape that is missing, Unavailable for a
    package that does not import or weights that cannot be fetched, CheckFailed where the callable
    breaks or gives something else than a module.
    """
    if model.startswith("timm:"):
        return _from_timm(model.removeprefix("timm:"), seed, fresh, shape)
    return _from_callable(model, seed, fresh, shape)


def _from_timm(name: str, seed: int, fresh: bool, shape: Shape | None) -> Foreign:
    timm = _import("timm", "pip install timm, and the torchvision that belongs to this torch")
    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:8]}*")[:3]
        offer = f"; near: {', '.join(near)}" if near else "; timm.list_models() lists them"
        raise UsageError(f"timm has no '{name}'{offer}")
    options = {"in_chans": shape[0]} if shape is not None and fresh else {}
    torch.manual_seed(seed)
    try:
        network = timm.create_model(name, pretrained=not fresh, **options).eval()
    except Exception as error:  # a hub that cannot be reached raises a dozen kinds
        raise Unavailable(
            f"timm cannot give the weights of '{name}': {first_line(error)}; "
            "fetch them first, or take seeded ones with --fresh"
        ) from error
    config = network.pretrained_cfg
    channels, height, width = shape or config["input_size"]
    if fresh:
        calibrate_batch_norms(network, (channels, height, width), seed)
    return Foreign(
        name=f"timm-{name}",
        network=network,
        shape=(channels, height, width),
        native=(channels, *config["input_size"][1:]),
        origin=f"timm:{name}" + (f" fresh:seed={seed}" if fresh else ""),
        preprocessing=_timm_preprocessing(config, (channels, height, width)),
    )


def _timm_preprocessing(config: dict[str, Any], shape: Shape) -> Preprocessing | None:
    if len(config["mean"]) != shape[0]:
        return None
    resize = round(min(shape[1:]) / config.get("crop_pct", 1.0))
    bicubic = config.get("interpolation") == "bicubic"
    return {
        "channels": shape[0],
        "height": shape[1],
        "width": shape[2],
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "resize": resize,
        "interpolation": "bicubic" if bicubic else "bilinear",
    }


def _from_callable(model: str, seed: int, fresh: bool, shape: Shape | None) -> Foreign:
    match = _CALLABLE.fullmatch(model)
    assert match is not None
    if shape is None:
        raise UsageError(f"{model} names no input shape; give --input, such as 1x3x224x224")
    here = str(Path.cwd())
    if here not in sys.path:  # a command's own folder is searched by `python -m`, not by scripts
        sys.path.insert(0, here)
    found: Any = _import(match["module"], "is it misspelt, or in another folder?")
    for part in match["name"].split("."):
        if not hasattr(found, part):
            raise UsageError(f"{match['module']} has no '{match['name']}'")
        found = getattr(found, part)
    torch.manual_seed(seed)  # after the import, which may draw numbers too
    try:
        network = found if isinstance(found, nn.Module) else found()
    except (Exception, SystemExit) as error:
        raise CheckFailed(f"{model}() broke: {first_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise CheckFailed(f"{model} gave a {type(network).__name__}; it must give an nn.Module")
    network = network.float().eval()
    if fresh:
        calibrate_batch_norms(network, shape, seed)
    return Foreign(
        name=match["name"].replace(".", "-"),
        network=network,
        shape=shape,
        native=None,
        origin=f"{model} seed={seed}" + (" fresh" if fresh else ""),
    )


def _import(name: str, hint: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # torchvision beside a foreign torch: RuntimeError
        misspelt = isinstance(error, ModuleNotFoundError) and error.name == name.split(".")[0]
        kind = UsageError if misspelt and name != "timm" else Unavailable
        raise kind(f"{name} does not import: {first_line(error)}; {hint}") from error
