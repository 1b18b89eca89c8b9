"""A split whose pixels are in memory, one byte each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.data.augment import Augment, random_erase, random_flip, random_shift
from zoo.data.base import Data, Preprocessing, Split, check_shape, measured
from zoo.data.images import random_crop, sized, to_image, to_pixels
from zoo.data.policies import apply_policy


class MemorySplit(Split):
    """Pixels (N, C, H, W) uint8 from 0 to `scale`, with labels (N,) int64."""

    def __init__(
        self, pixels: Tensor, labels: Tensor, preprocessing: Preprocessing, *, scale: int = 255
    ) -> None:
        self.pixels = pixels
        self.labels = labels
        self.preprocessing = preprocessing
        self.scale = scale

    def load(self, indices: Tensor, augment: Augment | None = None, seed: int = 0) -> Tensor:
        pixels, scale = self.pixels.index_select(0, indices), self.scale
        if augment is not None and (augment.area or augment.policy):
            bytes_ = pixels if scale == 255 else (pixels * (255.0 / scale)).round().byte()
            images = (to_image(each) for each in bytes_)
            pixels, scale = change_each(images, augment, seed, self.preprocessing), 255
        return finish(pixels, scale, augment, seed, self.preprocessing)


def change_each(
    images: Iterable[Image.Image], augment: Augment, seed: int, preprocessing: Preprocessing
) -> Tensor:
    """Crop and change PIL images, each with its own random numbers. Returns (B, C, H, W) uint8."""
    changed = []
    for position, image in enumerate(images):
        rng = position_rng(seed, position)
        if augment.area:
            image = random_crop(image, augment.area, rng, sized(preprocessing, augment.size))
        if augment.policy:
            image = apply_policy(augment.policy, image, rng, preprocessing["mean"])
        changed.append(to_pixels(image))
    return torch.stack(changed)


def position_rng(seed: int, position: int) -> np.random.Generator:
    """The random numbers for one image of a request. Neighbours are independent."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed % 2**64, position])))


def finish(
    pixels: Tensor,
    scale: int,
    augment: Augment | None,
    seed: int,
    preprocessing: Preprocessing,
) -> Tensor:
    """Shift, flip, normalise and erase a batch of pixels (B, C, H, W) uint8 from 0 to `scale`."""
    generator = torch.Generator().manual_seed(seed % 2**64)
    if augment is not None:
        background = torch.zeros(1, pixels.shape[1], 1, 1, dtype=pixels.dtype)
        pixels = random_shift(pixels, augment.shift, background, generator)
        pixels = random_flip(pixels, generator) if augment.flip else pixels
    images = pixels.to(torch.float32).div_(scale)  # a copy: the pixels are bytes
    mean, std = (torch.tensor(preprocessing[key]).view(-1, 1, 1) for key in ("mean", "std"))
    images.sub_(mean).div_(std)  # as `normalise`, without two more copies of a batch
    if augment is not None and augment.erase:
        images = random_erase(images, augment.erase, generator)
    return images.contiguous()


def in_memory(
    *,
    name: str,
    path: str | None = None,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: tuple[str, ...],
    preprocessing: Preprocessing | None = None,
    scale: int = 255,
) -> Data:
    """Data from pixels (N, C, H, W) uint8 and labels (N,), with the training half's statistics.

    `preprocessing` replaces these statistics. It is a BadArtifact if it is for another shape.
    """
    _, channels, height, width = train[0].shape
    histogram = np.stack(
        [
            torch.bincount(train[0][:, channel].flatten(), minlength=scale + 1).numpy()
            for channel in range(channels)
        ]
    )
    own = measured(histogram, height, width, scale)
    if preprocessing is not None:
        check_shape(name, own, preprocessing)
    used = preprocessing or own
    return Data(
        name=name,
        path=path,
        train=MemorySplit(*train, used, scale=scale),
        test=MemorySplit(*test, used, scale=scale),
        classes=classes,
        preprocessing=used,
    )
