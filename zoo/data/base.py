"""What a data set is: two splits of labelled images, and how pixels become input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor

from zoo.data.augment import Augment
from zoo.errors import BadArtifact, UsageError

INTERPOLATIONS = ("bilinear", "bicubic")

Histogram = np.ndarray[Any, np.dtype[np.int64]]
"""(C, values): how often each value occurs in each channel."""


class Preprocessing(TypedDict):
    """How pixels become the network's input. Plain data: saved with a run and in an artifact."""

    channels: int
    """1 (grey) or 3 (RGB)."""
    height: int
    width: int
    mean: list[float]
    """One per channel, of pixels that were first scaled to 0..1."""
    std: list[float]
    """One per channel; the input is (pixel - mean) / std."""
    resize: NotRequired[int]
    """Pixels of the shorter side before the centre is cropped. Absent: it just covers the crop."""
    interpolation: NotRequired[str]
    """`bilinear` (also if absent) or `bicubic`. Both average when they shrink an image."""


class Split(ABC):
    """The images that train or the images that test, with their labels."""

    labels: Tensor
    """(N,) int64, indices into the classes."""

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def load(self, indices: Tensor, augment: Augment | None = None, seed: int = 0) -> Tensor:
        """The images at `indices` (B,), as (B, C, H, W) float32, normalised and contiguous.

        The same arguments give the same bits in any process. An index that occurs twice is
        augmented differently each time. An image that cannot be read is a BadArtifact.
        """

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All images (N, C, H, W) and labels (N,), for a split that fits into memory."""
        return self.load(torch.arange(len(self))), self.labels

    def decodes(self, augment: Augment | None) -> bool:
        """Whether `load` reads files, so that starting worker processes pays."""
        return False


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set: what trains, what tests, and how its pixels become input."""

    name: str
    """`digits`, `folder`, `cifar10`, `cifar100` or `synthetic:CLASSES:IMAGES`."""
    path: str | None = None
    """The folder it came from. None for a set that is bundled or made."""
    train: Split
    test: Split
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    skipped: tuple[str, ...] = ()
    """Images that cannot be read, and were left out on request."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        wanted = self.preprocessing
        return wanted["channels"], wanted["height"], wanted["width"]

    @property
    def record(self) -> dict[str, Any]:
        """What a run's config records of its data: enough for zoo.data.spec_of and `load`."""
        record: dict[str, Any] = {"name": self.name}
        record |= {"path": self.path} if self.path else {}
        return record | ({"skipped": len(self.skipped)} if self.skipped else {})


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pixels (N, C, H, W) or (C, H, W) of 0..1 -> the same shape, less the mean, over the std."""
    mean = torch.tensor(preprocessing["mean"]).view(-1, 1, 1)
    std = torch.tensor(preprocessing["std"]).view(-1, 1, 1)
    return (pixels - mean.to(pixels.device)) / std.to(pixels.device)


def check_preprocessing(preprocessing: Preprocessing) -> None:
    """Raise a UsageError for preprocessing that no image can go through."""
    channels, height, width = (preprocessing[key] for key in ("channels", "height", "width"))
    if channels not in (1, 3):
        raise UsageError(f"an image cannot be read with {channels} channels; use 1 or 3")
    if min(height, width) < 1:
        raise UsageError(f"an image cannot be {height}x{width} pixels; use at least 1x1")
    if len(preprocessing["mean"]) != channels or len(preprocessing["std"]) != channels:
        raise UsageError(f"mean and std need {channels} numbers each, one for each channel")
    resize = preprocessing.get("resize")
    if resize is not None and resize < max(height, width):
        raise UsageError(
            f"resize {resize} is smaller than the crop of {height}x{width}; "
            f"use {max(height, width)} or more"
        )
    if preprocessing.get("interpolation", "bilinear") not in INTERPOLATIONS:
        raise UsageError(
            f"interpolation '{preprocessing['interpolation']}' is unknown; "
            f"use {' or '.join(INTERPOLATIONS)}"
        )


def measured(histogram: Histogram, height: int, width: int, scale: int = 255) -> Preprocessing:
    """The statistics of pixels that were counted in `histogram`.

    A pixel of value `scale` counts as 1. Sums of whole numbers are exact, so the figures do not
    depend on the order of the images.
    """
    mean, std = [], []
    for counts in histogram.tolist():
        count = sum(counts)
        total = sum(value * times for value, times in enumerate(counts))
        squares = sum(value * value * times for value, times in enumerate(counts))
        variance = (squares - total * total / count) / max(1, count - 1)
        mean.append(round(total / count / scale, 6))
        # A channel without any contrast would divide by zero.
        std.append(round(max(max(0.0, variance) ** 0.5 / scale, 1e-3), 6))
    return Preprocessing(channels=len(mean), height=height, width=width, mean=mean, std=std)


def check_shape(name: str, own: Preprocessing, given: Preprocessing) -> None:
    """Raise a BadArtifact if a run's preprocessing is for images of another shape."""
    for key in ("channels", "height", "width"):
        if own[key] != given[key]:
            raise BadArtifact(
                f"{name} has images of {own['channels']}x{own['height']}x{own['width']}; the "
                f"preprocessing given is for "
                f"{given['channels']}x{given['height']}x{given['width']}"
            )
