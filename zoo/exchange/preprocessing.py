"""The preprocessing that belongs to published weights, found beside them or by their hash.

Weights reach their published accuracy only on pixels that are resized, cropped and scaled as in
their training. Three sources are tried in this order: the table of torchvision's files below,
by hash; timm's config.json in the folder of the file; and what most published ResNets use.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data import Preprocessing
from zoo.data.base import check_preprocessing
from zoo.errors import BadArtifact, UsageError
from zoo.models import info

MEAN = [0.485, 0.456, 0.406]
"""Of ImageNet's pixels from 0 to 1: red, green and blue."""
STD = [0.229, 0.224, 0.225]
"""The same for the standard deviation."""
SETTINGS = ("size", "resize", "interpolation", "mean", "std")
CONFIG = "config.json"
_MAX_BYTES = 16 * 2**20

TORCHVISION: dict[str, tuple[str, int]] = {
    # First recipe (IMAGENET1K_V1).
    "f37072fd": ("resnet18", 256),
    "b627a593": ("resnet34", 256),
    "0676ba61": ("resnet50", 256),
    "63fe2227": ("resnet101", 256),
    "394f9c45": ("resnet152", 256),
    "7cdf4587": ("resnext50_32x4d", 256),
    "8ba56ff5": ("resnext101_32x8d", 256),
    "95faca4d": ("wide_resnet50_2", 256),
    "32ee1156": ("wide_resnet101_2", 256),
    # Second recipe (IMAGENET1K_V2). The 64x4d had no first one, so torchvision calls it V1.
    "173b62eb": ("resnext101_64x4d", 232),
    "11ad3fa6": ("resnet50", 232),
    "cd907fc2": ("resnet101", 232),
    "f82ba261": ("resnet152", 232),
    "1a0047aa": ("resnext50_32x4d", 232),
    "110c445d": ("resnext101_32x8d", 232),
    "9ba9bcbe": ("wide_resnet50_2", 232),
    "d733dc28": ("wide_resnet101_2", 232),
}
"""torchvision's files, from its ResNet*_Weights: first digits of the sha256 -> network, and the
shorter side in pixels to which images are resized (bilinear) before 224x224 are cropped."""


@dataclass(frozen=True, kw_only=True)
class KnownPreprocessing:
    """Preprocessing, and where it was found."""

    preprocessing: Preprocessing
    labels: list[str] | None
    """Class names from the same place. None if there were none."""
    origin: str
    """Where it was found, in words for people."""


def find_preprocessing(
    path: Path, sha256: str, model: str, channels: int, settings: Iterable[str] = ()
) -> KnownPreprocessing:
    """The preprocessing for the weights of `model` in the file `path`, changed by `settings`.

    A setting is `size=224` (of the crop), `resize=232` (the shorter side before the crop),
    `interpolation=bicubic`, `mean=0.5,0.5,0.5` or `std=...`. Raises UsageError for any other
    setting, for values that fit no image, and if nothing is known. Raises BadArtifact for a damaged
    config.json.
    """
    known = _published(sha256, model) or _beside(path, model, channels) or _usual(model)
    changed, settings = known.preprocessing.copy(), list(settings)
    changed["channels"] = channels
    for setting in settings:
        _change(changed, setting)
    if len(changed["mean"]) != channels or len(changed["std"]) != channels:
        raise UsageError(
            f"{path.name} takes {channels} channels, and their mean and deviation are unknown; "
            f"give --set mean=M,... and --set std=S,... with {channels} numbers each"
        )
    check_preprocessing(changed)
    origin = known.origin + (f", changed by {', '.join(settings)}" if settings else "")
    return KnownPreprocessing(preprocessing=changed, labels=known.labels, origin=origin)


def describe(preprocessing: Preprocessing) -> str:
    """The preprocessing in one line, for people."""
    size = f"{preprocessing['height']}x{preprocessing['width']}"
    resize = preprocessing.get("resize")
    first = f"resize the shorter side to {resize}, crop {size}" if resize else f"crop {size}"
    return f"{first}, {preprocessing.get('interpolation', 'bilinear')}"


def _imagenet(size: int, resize: int | None) -> Preprocessing:
    pixels = Preprocessing(channels=3, height=size, width=size, mean=[*MEAN], std=[*STD])
    if resize is not None:
        pixels["resize"] = resize
    pixels["interpolation"] = "bilinear"
    return pixels


def _published(sha256: str, model: str) -> KnownPreprocessing | None:
    row = TORCHVISION.get(sha256[:8])
    if row is None:
        return None
    name, resize = row
    if name != model:
        raise UsageError(f"this file is torchvision's {name}; run `zoo import {name}` with it")
    origin = "torchvision's for this file"
    return KnownPreprocessing(preprocessing=_imagenet(224, resize), labels=None, origin=origin)


def _usual(model: str) -> KnownPreprocessing:
    size = info(model).shape[1]
    resize = 256 if size == 224 else None
    origin = "unknown for this file, so what most weights use; change it with --set"
    return KnownPreprocessing(preprocessing=_imagenet(size, resize), labels=None, origin=origin)


def _beside(path: Path, model: str, channels: int) -> KnownPreprocessing | None:
    """What timm's config.json says, if there is one for this network."""
    where = path.parent / CONFIG
    if not where.is_file():
        return None
    try:
        with open(where, "rb") as file:
            content = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise BadArtifact(f"{where} cannot be read: {error}; repair it or move it away") from None
    if not isinstance(content, dict) or content.get("architecture") != model:
        return None
    try:
        own = content.get("pretrained_cfg", content)
        preprocessing = _from_timm(own, channels)
        labels = content.get("label_names", own.get("label_names", content.get("labels")))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise BadArtifact(
            f"{where} is not of the form that timm writes ({error}); repair it or move it away"
        ) from None
    named = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    return KnownPreprocessing(
        preprocessing=preprocessing,
        labels=labels if named else None,
        origin=f"from {CONFIG} beside it",
    )


def _from_timm(own: dict[str, Any], channels: int) -> Preprocessing:
    """Preprocessing from a timm config.

    timm resizes the shorter side to size / crop_pct, rounded down, and crops the centre.
    """
    _, height, width = own.get("input_size", (3, 224, 224))
    if type(height) is not int or type(width) is not int:
        raise ValueError("its input_size is not three whole numbers")
    if own.get("crop_mode", "center") != "center":
        raise ValueError(f"crop_mode {own['crop_mode']!r} is unknown to zoo")
    share = float(own.get("crop_pct") or 0.875)
    pixels = Preprocessing(
        channels=channels,
        height=height,
        width=width,
        mean=_finite(own.get("mean", MEAN)),
        std=_deviations(own.get("std", STD)),
    )
    pixels["resize"] = math.floor(max(height, width) / share)
    pixels["interpolation"] = str(own.get("interpolation", "bicubic"))
    return pixels


def crop_share(preprocessing: Preprocessing) -> float:
    """The crop_pct with which timm, which rounds down, resizes to the same size before the crop."""
    size = max(preprocessing["height"], preprocessing["width"])
    resize = preprocessing.get("resize", size)
    share = size / resize
    while math.floor(size / share) < resize:
        share = math.nextafter(share, 0.0)
    return share


def _finite(values: Iterable[Any]) -> list[float]:
    numbers = [float(value) for value in values]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{numbers} are not finite numbers")
    return numbers


def _deviations(values: Iterable[Any]) -> list[float]:
    numbers = _finite(values)
    if not all(number > 0 for number in numbers):
        raise ValueError(f"a deviation must be above 0, not {min(numbers)}")
    return numbers


def _change(preprocessing: Preprocessing, setting: str) -> None:
    name, _, text = setting.partition("=")
    try:
        if name == "size":
            preprocessing["height"] = preprocessing["width"] = int(text)
        elif name == "resize":
            preprocessing["resize"] = int(text)
        elif name == "interpolation":
            preprocessing["interpolation"] = text
        elif name == "mean":
            preprocessing["mean"] = _finite(text.split(","))
        elif name == "std":
            preprocessing["std"] = _deviations(text.split(","))
        else:
            raise ValueError(f"there is no '{name}'")
    except ValueError as error:
        raise UsageError(f"--set {setting}: {error}; settings: {', '.join(SETTINGS)}") from None
