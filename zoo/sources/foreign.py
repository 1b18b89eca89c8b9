"""Networks that are not the zoo's own: `timm:NAME`, and `package.module:callable`.

Both import and run code that others wrote, because the user names it.
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

from compile.errors import first_line, one_line
from compile.network.given import ready_to_call
from zoo.data import Preprocessing
from zoo.errors import CheckFailed, Unavailable, UsageError
from zoo.models.calibration import calibrate_batch_norms

Shape = tuple[int, int, int]

_CALLABLE = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<name>\w+(\.\w+)*)")
_FILE = re.compile(r"(?P<file>.+)\.py(:(?P<name>[\w.]*))?")


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A network that is not the zoo's own, ready to be compiled."""

    name: str
    """Its name in folders: `timm-resnet50d`."""
    network: nn.Module
    """In evaluation mode, on the CPU."""
    shape: Shape
    """The input shape (C, H, W) to compile for: the one asked for, else the native one."""
    native: Shape | None
    """The input shape that it was made for. None if that is unknown."""
    origin: str
    """What MODEL said, and the seed: `timm:resnet50d fresh:seed=0`."""
    preprocessing: Preprocessing | None = None


def is_foreign(model: str) -> bool:
    """Whether MODEL is `timm:NAME` or `package.module:callable`, or a Python file in its place."""
    return any((model.startswith("timm:"), _CALLABLE.fullmatch(model), _FILE.fullmatch(model)))


def find_foreign(model: str, *, seed: int, fresh: bool, shape: Shape | None) -> Foreign:
    """The network that MODEL names, in evaluation mode.

    Raises UsageError for an unknown name or a missing shape. Raises Unavailable for a package that
    does not import, or weights that cannot be fetched. Raises CheckFailed if the callable breaks or
    does not return a module.
    """
    if model.startswith("timm:"):
        return _from_timm(model.removeprefix("timm:"), seed, fresh, shape)
    file = _FILE.fullmatch(model)
    if file is not None:
        path = Path(file["file"])
        where = "" if path.parent == Path() else f", in the folder {path.parent}"
        raise UsageError(
            f"'{model}' is a file; name its module and what makes the network, such as "
            f"{path.name}:{file['name'] or 'make'}{where}"
        )
    return _from_callable(model, seed, fresh, shape)


def _from_timm(name: str, seed: int, fresh: bool, shape: Shape | None) -> Foreign:
    timm = _import("timm", "pip install timm, and the torchvision that belongs to this torch")
    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:8]}*")[:3]
        offer = f"; similar: {', '.join(near)}" if near else "; timm.list_models() lists them"
        raise UsageError(f"timm has no '{name}'{offer}")
    options = {"in_chans": shape[0]} if shape is not None and fresh else {}
    torch.manual_seed(seed)
    try:
        network = timm.create_model(name, pretrained=not fresh, **options).eval()
    except Exception as error:  # a hub that cannot be reached raises many kinds of errors
        raise Unavailable(
            f"timm cannot give the weights of '{name}': {first_line(error)}; "
            "fetch them first, or take seeded ones with --fresh"
        ) from error
    config = network.pretrained_cfg
    channels, height, width = shape or config["input_size"]
    if fresh:
        with one_line(f"timm:{name} cannot be made ready"):
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
    if here not in sys.path:  # `python -m` searches the current folder, a script does not
        sys.path.insert(0, here)
    target: Any = _import(match["module"], "check its spelling and the current folder")
    for part in match["name"].split("."):
        if not hasattr(target, part):
            raise UsageError(f"{match['module']} has no '{match['name']}'")
        target = getattr(target, part)
    torch.manual_seed(seed)  # after the import, which may draw numbers
    with one_line(f"{model}() broke"):
        network = target if isinstance(target, nn.Module) else target()
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise CheckFailed(f"{model} returned a {kind}; it must return an nn.Module")
    with one_line(f"{model} cannot be made ready"):
        network = ready_to_call(network, shape)
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # torchvision with another torch: RuntimeError
        misspelt = isinstance(error, ModuleNotFoundError) and error.name == name.split(".")[0]
        kind = UsageError if misspelt and name != "timm" else Unavailable
        raise kind(f"{name} does not import: {first_line(error)}; {hint}") from error
