"""Random changes of training images. This file changes whole batches, on tensors.

Crops and policies change one image at a time. They are in images.py and policies.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.data.policies import parse_policy
from zoo.errors import UsageError

LARGEST_SHIFT = 64
ERASED_AREA = (0.02, 1 / 3)
"""Smallest and largest share of an image that is erased."""
ERASED_ASPECT = (0.3, 1 / 0.3)
_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How training images are changed at random. A value out of range is a UsageError."""

    shift: int = 0
    """Largest shift in pixels, in each direction. Background, a pixel of 0, fills the gap."""
    flip: bool = False
    """Mirror half of the images, left to right."""
    area: tuple[float, float] | None = None
    """Crop a random share of the area, its aspect 3/4..4/3, and resize it (arXiv:1409.4842)."""
    size: int = 0
    """Height and width of that crop. 0: those of the test images."""
    policy: str = ""
    """`trivialaugment` (arXiv:2103.10158) or `randaugment-m7-n2-mstd0.5` (arXiv:1909.13719)."""
    erase: float = 0.0
    """Probability that a rectangle becomes the mean colour (arXiv:1708.04896)."""

    def __post_init__(self) -> None:
        if type(self.shift) is not int or not 0 <= self.shift <= LARGEST_SHIFT:
            raise UsageError(f"shift {self.shift} is out of range; use 0 to {LARGEST_SHIFT}")
        if not isinstance(self.flip, bool):
            raise UsageError(f"flip {self.flip} is neither true nor false")
        if not 0.0 <= self.erase <= 1.0:
            raise UsageError(f"erase {self.erase} is out of range; use 0 to 1")
        if self.area is not None:
            object.__setattr__(self, "area", tuple(self.area))  # JSON gives a list
            if len(self.area) != 2 or not 0.0 < self.area[0] <= self.area[1] <= 1.0:
                raise UsageError(
                    f"area {self.area} is out of range; use two shares in order, such as 0.08,1"
                )
        if self.size and self.area is None:
            raise UsageError(f"size {self.size} needs an area to crop; give area too, or size 0")
        if type(self.size) is not int or not 0 <= self.size <= 4096:
            raise UsageError(f"size {self.size} is out of range; use 0 to 4096")
        if self.policy:
            parse_policy(self.policy)


def random_shift(
    images: Tensor, largest: int, background: Tensor, generator: torch.Generator
) -> Tensor:
    """Move images (B, C, H, W) on the CPU by up to `largest` pixels, all equally likely.

    `background` (1, C, 1, 1), a pixel of 0, comes in from the edge. Nothing wraps around. numpy
    reads views of all windows many times faster than torch gathers by index.
    """
    if largest == 0:
        return images
    count, channels, height, width = images.shape
    padded = background.expand(
        count, channels, height + 2 * largest, width + 2 * largest
    ).contiguous()
    padded[:, :, largest : largest + height, largest : largest + width] = images
    down, right = torch.randint(0, 2 * largest + 1, (2, count), generator=generator).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(padded.numpy(), (height, width), (2, 3))
    return torch.from_numpy(windows[np.arange(count), :, down, right])


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror about half of the images (B, C, H, W), which are on the CPU, left to right."""
    chosen = (torch.rand(len(images), generator=generator) < 0.5).numpy()
    flipped = images.numpy().copy()
    flipped[chosen] = flipped[chosen][..., ::-1]
    return torch.from_numpy(flipped)


def random_erase(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Set one rectangle in about `share` of `images` (B, C, H, W) to 0, their mean, in place."""
    count, _, height, width = images.shape
    draws = torch.rand(5, _TRIES, count, generator=generator, dtype=torch.float64)
    low, high = ERASED_AREA
    area = (low + (high - low) * draws[0]) * height * width
    tall, wide = np.log(ERASED_ASPECT[0]), np.log(ERASED_ASPECT[1])
    aspect = torch.exp(tall + (wide - tall) * draws[1])
    rows, columns = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()  # (tries, B)
    # The first try that leaves a border: argmax finds the first largest. No such try: no erasing.
    fits = (rows < height) & (columns < width) & (rows > 0) & (columns > 0)
    first = fits.to(torch.uint8).argmax(0, keepdim=True)
    rows, columns = rows.gather(0, first)[0], columns.gather(0, first)[0]
    top = (draws[2].gather(0, first)[0] * (height - rows + 1)).floor()
    left = (draws[3].gather(0, first)[0] * (width - columns + 1)).floor()
    chosen = (draws[4, 0] < share) & fits.any(0)
    # Only erased pixels are touched. A mask or a copy would go through every pixel of the batch.
    for index in chosen.nonzero().flatten().tolist():
        y, x = int(top[index]), int(left[index])
        images[index, :, y : y + int(rows[index]), x : x + int(columns[index])] = 0.0
    return images


def mix(
    images: Tensor,
    targets: Tensor,
    *,
    mixup: float,
    cutmix: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Blend each image (B, C, H, W), and its target (B, K), with another one of the batch.

    Mixup (arXiv:1710.09412) averages two images. Cutmix (arXiv:1905.04899) pastes a rectangle of
    one into the other. The weight is drawn from Beta(a, a) once for the batch, where a is `mixup`
    or `cutmix`. With both above 0, one of the two is drawn. With neither, nothing changes. Targets
    are averaged by the share of pixels that came from each image. `generator` is on the CPU.
    Raises UsageError for a parameter out of range.
    """
    for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
        if not 0.0 <= alpha <= 100.0:
            raise UsageError(f"{name} {alpha} is out of range; use 0 to 100, 0 for none")
    if not mixup and not cutmix:
        return images, targets
    # torch cannot draw from a beta distribution with a given generator.
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    paste = bool(cutmix) and (not mixup or rng.random() < 0.5)
    kept = float(rng.beta(cutmix, cutmix) if paste else rng.beta(mixup, mixup))
    order = torch.randperm(len(images), generator=generator).to(images.device)
    if paste:
        height, width = images.shape[2:]
        side = (1.0 - kept) ** 0.5
        middle = rng.random(2) * (height, width)
        top, bottom = _range(middle[0], side * height, height)
        left, right = _range(middle[1], side * width, width)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
        kept = 1.0 - (bottom - top) * (right - left) / (height * width)  # the border cut some off
    else:
        mixed = images * kept + images[order] * (1.0 - kept)
    return mixed, targets * kept + targets[order] * (1.0 - kept)


def _range(middle: float, extent: float, limit: int) -> tuple[int, int]:
    """Start and stop of `extent` pixels around `middle`, cut off at 0 and `limit`."""
    start = int(middle - extent / 2 + 0.5)
    return max(0, start), min(limit, max(0, int(middle + extent / 2 + 0.5)))
