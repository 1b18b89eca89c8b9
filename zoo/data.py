"""Images as tensors: the bundled digits, or a folder of classes, split into two halves.

Data sets here are small enough to stay in memory, already normalised: (N, C, H, W) float32.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from zoo.errors import BadArtifact, UsageError

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
VALIDATION_SHARE = 0.2


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


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set, split and normalised."""

    name: str
    """`digits` or `folder`."""
    path: str | None = None
    """The folder it came from; None for what is bundled."""
    train_x: Tensor
    """(N, C, H, W) float32, normalised."""
    train_y: Tensor
    """(N,) int64, indices into `classes`."""
    test_x: Tensor
    test_y: Tensor
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.train_x.shape[1:]
        return channels, height, width


def load_digits_split() -> Data:
    """scikit-learn's handwritten digits, 1,797 images of 8x8 pixels in ten classes.

    They are ordered by writer, so the first half trains and the second tests: nobody's hand is in
    both, which a random split would allow. Mean and deviation are the training half's.
    """
    from sklearn.datasets import load_digits

    bundle = load_digits()
    pixels = torch.from_numpy(np.asarray(bundle.images, dtype=np.float32) / 16.0).unsqueeze(1)
    labels = torch.from_numpy(np.asarray(bundle.target, dtype=np.int64))
    half = len(labels) // 2
    return _finish(
        name="digits",
        path=None,
        train=(pixels[:half], labels[:half]),
        test=(pixels[half:], labels[half:]),
        classes=tuple(str(digit) for digit in range(10)),
    )


def load_folder(
    path: str | Path,
    *,
    size: int = 64,
    channels: int = 3,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
) -> Data:
    """Images in FOLDER/train/CLASS/* and FOLDER/val/CLASS/* (or test/), or in FOLDER/CLASS/*.

    Without the two halves, a seeded fifth of every class tests. Classes are in byte order of
    their folders' names. Every image is resized to `size` on its shorter side and cropped in the
    centre. Without `preprocessing` the statistics of the training half normalise. Errors:
    UsageError where the folder is missing; BadArtifact for a corrupt image, an
    empty class, or fewer than two classes, each named.
    """
    root = Path(path).resolve()
    if not root.is_dir():
        raise UsageError(f"--data {root}: no such folder; it must hold one folder for each class")
    if (root / "train").is_dir():
        held_out = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
        if held_out is None:
            raise BadArtifact(f"--data {root}: has train/ but neither val/ nor test/ beside it")
        classes = _classes(root / "train")
        if _classes(held_out) != classes:
            raise BadArtifact(f"--data {root}: train/ and {held_out.name}/ hold different classes")
        train = _read_classes(root / "train", classes, size, channels)
        test = _read_classes(held_out, classes, size, channels)
    else:
        classes = _classes(root)
        train, test = _split(*_read_classes(root, classes, size, channels), seed)
    return _finish(
        name="folder",
        path=str(root),
        train=train,
        test=test,
        classes=classes,
        preprocessing=preprocessing,
    )


def _classes(folder: Path) -> tuple[str, ...]:
    found = [entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."]
    found.sort(key=os.fsencode)
    if len(found) < 2:
        raise BadArtifact(
            f"{folder}: found {len(found)} class folders {found}; at least two are needed"
        )
    return tuple(found)


def _read_classes(
    folder: Path, classes: tuple[str, ...], size: int, channels: int
) -> tuple[Tensor, Tensor]:
    """All images below `folder`, scaled to 0..1: (N, C, H, W) float32 and (N,) int64."""
    images: list[Tensor] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = sorted(
            (file for file in (folder / name).iterdir() if file.suffix.lower() in IMAGE_SUFFIXES),
            key=os.fsencode,
        )
        if not files:
            raise BadArtifact(f"{folder / name}: no images ({', '.join(IMAGE_SUFFIXES)})")
        images += [read_image(file, channels, size, size) for file in files]
        labels += [label] * len(files)
    return torch.stack(images), torch.tensor(labels)


def _split(images: Tensor, labels: Tensor, seed: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Hold out a seeded fifth of every class, at least one image, at most all but one."""
    generator = torch.Generator().manual_seed(seed)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(int(labels.max()) + 1):
        members = torch.nonzero(labels == label).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        if len(members) < 2:
            raise BadArtifact(f"class number {label} has one image; two are needed to split")
        held_out[members[: max(1, round(VALIDATION_SHARE * len(members)))]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


def _finish(
    *,
    name: str,
    path: str | None,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: tuple[str, ...],
    preprocessing: Preprocessing | None = None,
) -> Data:
    """Normalise both halves as `preprocessing` says, else by the training half's statistics."""
    _, channels, height, width = train[0].shape
    # float64, so that the statistics do not depend on the order of summation.
    pixels = train[0].double()
    preprocessing = preprocessing or Preprocessing(
        channels=channels,
        height=height,
        width=width,
        mean=[round(value, 6) for value in pixels.mean((0, 2, 3)).tolist()],
        std=[round(max(value, 1e-3), 6) for value in pixels.std((0, 2, 3)).tolist()],
    )
    return Data(
        name=name,
        path=path,
        train_x=normalise(train[0], preprocessing),
        train_y=train[1],
        test_x=normalise(test[0], preprocessing),
        test_y=test[1],
        classes=classes,
        preprocessing=preprocessing,
    )


def normalise(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(N, C, H, W) or (C, H, W) of 0..1 -> the same shape, mean 0 and deviation 1."""
    mean = torch.tensor(preprocessing["mean"]).view(-1, 1, 1)
    std = torch.tensor(preprocessing["std"]).view(-1, 1, 1)
    return (pixels - mean) / std


def read_image(path: str | Path, channels: int, height: int, width: int) -> Tensor:
    """Read one image file as (channels, height, width) float32 in 0..1.

    It becomes grey or RGB as `channels` asks, is resized until it covers height x width, and is
    cropped in the centre. A missing or damaged file is a BadArtifact that names it.
    """
    if channels not in (1, 3):
        raise UsageError(f"an image cannot be read with {channels} channels; use 1 or 3")
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits; a plain conversion would clip them
                grey = np.asarray(image).clip(0, 65_535) / 257
                image = Image.fromarray(grey.round().astype(np.uint8))
            image = image.convert("L" if channels == 1 else "RGB")
    except FileNotFoundError:
        raise BadArtifact(f"{path}: no such image file") from None
    except (
        OSError,
        SyntaxError,
        struct.error,
        UnidentifiedImageError,
        Image.DecompressionBombError,
        ValueError,
    ) as error:
        raise BadArtifact(f"{path}: not a readable image ({error}); replace or remove it") from None
    scale = max(height / image.height, width / image.width)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    image = image.crop((left, top, left + width, top + height))
    pixels = np.asarray(image, dtype=np.float32) / 255.0
    return torch.from_numpy(pixels.reshape(height, width, channels)).permute(2, 0, 1).contiguous()


def random_shift(
    images: Tensor, largest: int, background: Tensor, generator: torch.Generator
) -> Tensor:
    """Move each image (B, C, H, W) by up to `largest` pixels; every offset is equally likely.

    What comes in from the edge is `background` (1, C, 1, 1): a pixel of 0, normalised. Nothing
    wraps around.
    """
    if largest == 0:
        return images
    count, _, height, width = images.shape
    padded = background.repeat(count, 1, height + 2 * largest, width + 2 * largest)
    padded[:, :, largest : largest + height, largest : largest + width] = images
    offsets = torch.randint(0, 2 * largest + 1, (2, count, 1), generator=generator)
    rows = (offsets[0] + torch.arange(height)).to(images.device)  # (B, H)
    columns = (offsets[1] + torch.arange(width)).to(images.device)  # (B, W)
    index = torch.arange(count, device=images.device).view(-1, 1, 1)
    # The slice between the index tensors puts channels last: (B, H, W, C).
    return padded[index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror about half of the images (B, C, H, W), left to right."""
    chosen = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)
