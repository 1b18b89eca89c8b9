"""An image file becomes pixels: decoded, turned upright, resized and cropped."""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from zoo.data.base import Preprocessing, check_preprocessing
from zoo.errors import BadArtifact

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

ASPECT = (3 / 4, 4 / 3)
"""Width over height of a random crop: smallest and largest."""
KEPT_DETAIL = 2
"""A JPEG is decoded smaller if it still has this many times its final width and height."""
_TRIES = 10
_ORIENTATION = 0x0112  # the EXIF tag
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def read_image(path: str | Path, preprocessing: Preprocessing) -> Tensor:
    """Read one image file as (C, H, W) float32 in 0..1. `normalise` makes the input of it.

    The image becomes grey or RGB. It is resized until it covers height x width, or to `resize`
    pixels on its shorter side, and its centre is cropped. A missing or damaged file is a
    BadArtifact that names it.
    """
    check_preprocessing(preprocessing)
    return to_pixels(centre_crop(path, preprocessing)).float().div_(255)


def centre_crop(path: str | Path, preprocessing: Preprocessing) -> Image.Image:
    """The image of a file as in evaluation: height x width pixels, mode L or RGB."""
    height, width = preprocessing["height"], preprocessing["width"]
    with _named(path), Image.open(path) as file:
        upright = _upright_size(file)
        size = resized(upright, preprocessing)
        scale = max(size[0] / upright[0], size[1] / upright[1])
        image = _decode(file, preprocessing["channels"], scale * KEPT_DETAIL)
    image = image.resize(size, _filter(preprocessing))
    left, top = size[0] - width, size[1] - height
    if "resize" in preprocessing:
        left, top = round(left / 2), round(top / 2)  # half to even, as torchvision rounds
    else:
        left, top = left // 2, top // 2
    return image.crop((left, top, left + width, top + height))


def crop_at_random(
    path: str | Path,
    area: tuple[float, float],
    rng: np.random.Generator,
    preprocessing: Preprocessing,
) -> Image.Image:
    """A random crop of the image of a file, height x width pixels, L or RGB."""
    with _named(path), Image.open(path) as file:
        width, height = _upright_size(file)
        box = random_box(width, height, area, rng)
        scale = max(
            preprocessing["width"] / (box[2] - box[0]), preprocessing["height"] / (box[3] - box[1])
        )
        image = _decode(file, preprocessing["channels"], scale)
    across, down = image.width / width, image.height / height
    box = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    return _resize_box(image, box, preprocessing)


def sized(preprocessing: Preprocessing, size: int) -> Preprocessing:
    """The same preprocessing for images of size x size. A size of 0 changes nothing."""
    return {**preprocessing, "height": size, "width": size} if size else preprocessing


def random_crop(
    image: Image.Image,
    area: tuple[float, float],
    rng: np.random.Generator,
    preprocessing: Preprocessing,
) -> Image.Image:
    """The same for an image that is already decoded: a random crop, height x width pixels."""
    return _resize_box(image, random_box(*image.size, area, rng), preprocessing)


def random_box(width: int, height: int, area: tuple[float, float], rng: np.random.Generator) -> Box:
    """A box with a share `area` of width x height pixels, and an aspect of 3/4..4/3.

    Aspects are drawn evenly on a logarithmic scale (arXiv:1409.4842). If ten tries do not fit
    into the image, it is the largest centred box with an allowed aspect.
    """
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    for _ in range(_TRIES):
        share = rng.uniform(*area) * width * height
        aspect = math.exp(rng.uniform(low, high))
        across, down = round(math.sqrt(share * aspect)), round(math.sqrt(share / aspect))
        if 0 < across <= width and 0 < down <= height:
            left = int(rng.integers(0, width - across + 1))
            top = int(rng.integers(0, height - down + 1))
            return left, top, left + across, top + down
    across = max(1, min(width, round(height * ASPECT[1])))
    down = max(1, min(height, round(width / ASPECT[0])))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def resized(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """The (width, height) to which an image of `size` is resized before its centre is cropped."""
    width, height = size
    shorter = preprocessing.get("resize")
    if shorter is None:
        scale = max(preprocessing["height"] / height, preprocessing["width"] / width)
        return (
            max(preprocessing["width"], round(width * scale)),
            max(preprocessing["height"], round(height * scale)),
        )
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def to_image(pixels: Tensor) -> Image.Image:
    """(C, H, W) uint8 -> an image, L or RGB."""
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if len(pixels) == 1 else array))


def to_pixels(image: Image.Image) -> Tensor:
    """An image, L or RGB -> (C, H, W) uint8."""
    # A copy: torch wants memory that may be written to.
    array = np.array(image, dtype=np.uint8).reshape(image.height, image.width, -1)
    return torch.from_numpy(array).permute(2, 0, 1).contiguous()


def _filter(preprocessing: Preprocessing) -> Image.Resampling:
    return _FILTERS[preprocessing.get("interpolation", "bilinear")]


def _resize_box(image: Image.Image, box: Box, preprocessing: Preprocessing) -> Image.Image:
    size = (preprocessing["width"], preprocessing["height"])
    return image.resize(size, _filter(preprocessing), box=box)


def _upright_size(file: Image.Image) -> tuple[int, int]:
    """(width, height) of an opened image once it is upright."""
    width, height = file.size
    return (height, width) if _orientation(file) >= 5 else (width, height)


def _orientation(file: Image.Image) -> int:
    """How an opened image was turned, 1 to 8. Damaged EXIF data count as none."""
    try:
        value: int = file.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, struct.error):
        return 1
    return value if value in range(2, 9) else 1


def _decode(file: Image.Image, channels: int, scale: float) -> Image.Image:
    """Decode an opened image, upright, as L or RGB. A JPEG may be decoded smaller.

    It keeps at least `scale` times its width and height, and its full size for `scale` >= 1.
    """
    if scale < 1:
        file.draft(None, (math.ceil(file.width * scale), math.ceil(file.height * scale)))
    # Each step copies, so it is skipped if the image does not need it.
    turned = _orientation(file) != 1
    image: Image.Image = ImageOps.exif_transpose(file) if turned else file
    image.load()
    if image.mode.startswith("I"):  # 16 bits: a plain conversion would clip them
        grey = np.asarray(image).clip(0, 65_535) / 257
        image = Image.fromarray(grey.round().astype(np.uint8))
    elif "transparency" in image.info:
        image = image.convert("RGBA")  # else a palette with transparency warns
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into a BadArtifact that names it."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for a writer
            raise BadArtifact(f"{path}: is not a regular file; replace or remove it")
        yield
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
