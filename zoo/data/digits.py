"""The bundled digits, and images that are made on the spot."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo.data.base import Data, Preprocessing
from zoo.data.memory import in_memory
from zoo.errors import UsageError


def load_digits_split(preprocessing: Preprocessing | None = None) -> Data:
    """scikit-learn's handwritten digits, 1,797 images of 8x8 pixels in ten classes.

    They are ordered by writer. The first half trains and the second tests, so no writer is in
    both, as a random split would allow. Mean and deviation are the training half's.
    """
    from sklearn.datasets import load_digits

    bundle = load_digits()
    # Whole numbers from 0 to 16: one byte holds them exactly.
    pixels = torch.from_numpy(np.asarray(bundle.images).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(np.asarray(bundle.target, dtype=np.int64))
    half = len(labels) // 2
    return in_memory(
        name="digits",
        train=(pixels[:half], labels[:half]),
        test=(pixels[half:], labels[half:]),
        classes=tuple(str(digit) for digit in range(10)),
        preprocessing=preprocessing,
        scale=16,
    )


def make_synthetic(
    *,
    classes: int = 10,
    images: int = 1024,
    size: int = 32,
    channels: int = 3,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
) -> Data:
    """`images` noisy images to train on, and a quarter as many to test, of `size` x `size` pixels.

    Each class has its own coarse pattern under the noise, so the loss falls in training. They
    measure how fast data moves, not how well a network learns. A count out of range is a
    UsageError.
    """
    for name, value, low, high in (
        ("classes", classes, 2, 10_000),
        ("images", images, 8, 10_000_000),
        ("size", size, 1, 4096),
    ):
        if not low <= value <= high:
            raise UsageError(f"synthetic: {name} {value} is out of range; use {low} to {high}")
    generator = torch.Generator().manual_seed(seed % 2**64)
    cells = torch.randint(0, 128, (classes, channels, 4, 4), generator=generator)
    nearest = torch.arange(size) * 4 // size
    patterns = cells[:, :, nearest][:, :, :, nearest].byte()  # (classes, C, H, W)

    def half(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(count) % classes
        noise = torch.empty(count, channels, size, size, dtype=torch.uint8)
        noise.random_(0, 128, generator=generator)
        return noise.add_(patterns[labels]), labels

    return in_memory(
        name=f"synthetic:{classes}:{images}",
        train=half(images),
        test=half(max(1, images // 4)),
        classes=tuple(str(label) for label in range(classes)),
        preprocessing=preprocessing,
    )
