"""Policies that change an image by random operations: TrivialAugment and RandAugment."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from zoo.errors import UsageError

Fill = tuple[int, ...] | int
Operation = Callable[[Image.Image, float, Fill], Image.Image]

HIGHEST = 10.0
"""RandAugment's largest magnitude."""
APPLIED = 0.5
"""Probability of each operation that RandAugment drew."""


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """How many operations are drawn, and how strong they are."""

    magnitude: float
    """0..10. 0 leaves an image almost as it is."""
    operations: int
    """How many are drawn for each image."""
    deviation: float
    """Standard deviation of the magnitude, which is normal and cut off at 0 and 10."""


def parse_policy(policy: str) -> RandAugment | None:
    """What a policy's name asks for. None for TrivialAugment. UsageError for an unknown name."""
    if policy == "trivialaugment":
        return None
    number = r"(\d+(?:\.\d+)?)"
    match = re.fullmatch(rf"randaugment-m{number}(?:-n(\d+))?(?:-mstd{number})?", policy)
    if match:
        parsed = RandAugment(
            magnitude=float(match[1]),
            operations=int(match[2] or 2),
            deviation=float(match[3] or 0.0),
        )
        if parsed.magnitude <= HIGHEST and 1 <= parsed.operations <= 10 and parsed.deviation <= 10:
            return parsed
    raise UsageError(
        f"policy '{policy}' is unknown; use trivialaugment, or randaugment-m7-n2-mstd0.5 with "
        "m 0 to 10, n 1 to 10 operations and mstd 0 to 10"
    )


def apply_policy(
    policy: str, image: Image.Image, rng: np.random.Generator, mean: Sequence[float]
) -> Image.Image:
    """Change an image (L or RGB) as `policy` says. The mean colour fills gaps at the edges.

    `mean` has a value of 0..1 for each channel. The size and the mode stay.
    """
    colours = tuple(round(255 * value) for value in mean)
    fill: Fill = colours if image.mode == "RGB" else colours[0]
    drawn = parse_policy(policy)
    if drawn is None:
        return _trivial(image, rng, fill)
    for name in rng.integers(len(RANDOM), size=drawn.operations):
        applied = rng.random() < APPLIED
        magnitude = drawn.magnitude + drawn.deviation * rng.standard_normal()
        sign = 1.0 if rng.random() < 0.5 else -1.0
        if applied:
            strength, operation = list(RANDOM.values())[name]
            share = min(max(magnitude, 0.0), HIGHEST) / HIGHEST
            image = operation(image, strength(share, sign, min(image.size)), fill)
    return image


def _trivial(image: Image.Image, rng: np.random.Generator, fill: Fill) -> Image.Image:
    """One operation at one of 31 strengths, all equally likely (arXiv:2103.10158, wide)."""
    name = int(rng.integers(len(TRIVIAL)))
    share = int(rng.integers(31)) / 30
    sign = 1.0 if rng.random() < 0.5 else -1.0
    strength, operation = list(TRIVIAL.values())[name]
    return operation(image, strength(share, sign, min(image.size)), fill)


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: Fill) -> Image.Image:
    """Each new pixel (x, y) comes from (a x + b y + c, d x + e y + f) of the old image."""
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BILINEAR,
        fillcolor=fill,
    )


def shear_x(image: Image.Image, value: float, fill: Fill) -> Image.Image:
    """Move each row by `value` times its number."""
    return _affine(image, (1, value, 0, 0, 1, 0), fill)


def shear_y(image: Image.Image, value: float, fill: Fill) -> Image.Image:
    """Move each column by `value` times its number."""
    return _affine(image, (1, 0, 0, value, 1, 0), fill)


def translate_x(image: Image.Image, value: float, fill: Fill) -> Image.Image:
    """Move by `value` pixels, left for positive ones."""
    return _affine(image, (1, 0, value, 0, 1, 0), fill)


def translate_y(image: Image.Image, value: float, fill: Fill) -> Image.Image:
    """Move by `value` pixels, up for positive ones."""
    return _affine(image, (1, 0, 0, 0, 1, value), fill)


def rotate(image: Image.Image, value: float, fill: Fill) -> Image.Image:
    """Turn by `value` degrees about the centre."""
    return image.rotate(value, resample=Image.Resampling.BILINEAR, fillcolor=fill)


def brightness(image: Image.Image, value: float, _fill: Fill) -> Image.Image:
    """Blend with black. 1 changes nothing, and more brightens."""
    return ImageEnhance.Brightness(image).enhance(value)


def color(image: Image.Image, value: float, _fill: Fill) -> Image.Image:
    """Blend with the grey version of the image. A grey image does not change."""
    return ImageEnhance.Color(image).enhance(value)


def contrast(image: Image.Image, value: float, _fill: Fill) -> Image.Image:
    """Blend with the mean grey of the image."""
    return ImageEnhance.Contrast(image).enhance(value)


def sharpness(image: Image.Image, value: float, _fill: Fill) -> Image.Image:
    """Blend with a smoothed version of the image."""
    return ImageEnhance.Sharpness(image).enhance(value)


def posterize(image: Image.Image, value: float, _fill: Fill) -> Image.Image:
    """Keep `value` bits of each byte. With no bits the image is black."""
    bits = int(value)
    return ImageOps.posterize(image, bits) if bits else image.point(lambda _pixel: 0)


def solarize(image: Image.Image, value: float, _fill: Fill) -> Image.Image:
    """Invert pixels of at least `value`."""
    return image.point(
        [pixel if pixel < value else 255 - pixel for pixel in range(256)] * _bands(image)
    )


def solarize_add(image: Image.Image, value: float, _fill: Fill) -> Image.Image:
    """Brighten pixels below 128 by `value`."""
    table = [min(255, pixel + int(value)) if pixel < 128 else pixel for pixel in range(256)]
    return image.point(table * _bands(image))


def autocontrast(image: Image.Image, _value: float, _fill: Fill) -> Image.Image:
    """Stretch each channel to 0..255."""
    return ImageOps.autocontrast(image)


def equalize(image: Image.Image, _value: float, _fill: Fill) -> Image.Image:
    """Make each channel's histogram flat."""
    return ImageOps.equalize(image)


def invert(image: Image.Image, _value: float, _fill: Fill) -> Image.Image:
    """Return the negative."""
    return ImageOps.invert(image)


def identity(image: Image.Image, _value: float, _fill: Fill) -> Image.Image:
    """Return the image as it is."""
    return image


def _bands(image: Image.Image) -> int:
    return len(image.getbands())


Strength = Callable[[float, float, int], float]
"""(share of the largest strength 0..1, sign, pixels of the shorter side) -> an operation's value"""


def _signed(largest: float) -> Strength:
    return lambda share, sign, _side: sign * share * largest


def _around_one(largest: float) -> Strength:
    return lambda share, sign, _side: max(0.0, 1.0 + sign * share * largest)


def _none(_share: float, _sign: float, _side: int) -> float:
    return 0.0


TRIVIAL: dict[str, tuple[Strength, Operation]] = {
    "identity": (_none, identity),
    "shear_x": (_signed(0.99), shear_x),
    "shear_y": (_signed(0.99), shear_y),
    "translate_x": (_signed(32.0), translate_x),
    "translate_y": (_signed(32.0), translate_y),
    "rotate": (_signed(135.0), rotate),
    "brightness": (_around_one(0.99), brightness),
    "color": (_around_one(0.99), color),
    "contrast": (_around_one(0.99), contrast),
    "sharpness": (_around_one(0.99), sharpness),
    "posterize": (lambda share, _sign, _side: 8 - round(6 * share), posterize),
    "solarize": (lambda share, _sign, _side: 256 * (1 - share), solarize),
    "autocontrast": (_none, autocontrast),
    "equalize": (_none, equalize),
}
"""Name -> the strengths of an operation, and the operation. Strengths grow with the share."""

RANDOM: dict[str, tuple[Strength, Operation]] = {
    "autocontrast": (_none, autocontrast),
    "equalize": (_none, equalize),
    "invert": (_none, invert),
    "rotate": (_signed(30.0), rotate),
    "posterize": (lambda share, _sign, _side: 4 - int(4 * share), posterize),
    "solarize": (lambda share, _sign, _side: 256 - int(256 * share), solarize),
    "solarize_add": (lambda share, _sign, _side: min(128, int(110 * share)), solarize_add),
    "color": (_around_one(0.9), color),
    "contrast": (_around_one(0.9), contrast),
    "brightness": (_around_one(0.9), brightness),
    "sharpness": (_around_one(0.9), sharpness),
    "shear_x": (_signed(0.3), shear_x),
    "shear_y": (_signed(0.3), shear_y),
    "translate_x": (lambda share, sign, side: sign * share * 0.45 * side, translate_x),
    "translate_y": (lambda share, sign, side: sign * share * 0.45 * side, translate_y),
}
"""The same for RandAugment, in the form in which all strengths grow with the magnitude."""
