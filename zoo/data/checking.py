"""Decodes every image of a set once, before anything depends on one of them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.data.base import Histogram, Preprocessing
from zoo.data.images import centre_crop, to_pixels
from zoo.errors import BadArtifact

SAY_AFTER_S = 5.0
"""A check that takes longer than this prints its progress, this often."""
_CHUNK = 256  # images whose pixels wait at once, so that memory stays small


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the check of a list of images gave."""

    histogram: Histogram
    """(C, 256): how often each byte occurs in the centre crops."""
    pixels: Tensor | None
    """(N, C, H, W) uint8: the centre crops of the images that can be read. None if not kept."""
    bad: tuple[int, ...]
    """Positions of the images that cannot be read."""


def num_threads() -> int:
    """Cores that this process may use: Pillow decodes outside of Python's lock."""
    return len(os.sched_getaffinity(0))


def check_images(
    paths: Sequence[Path], preprocessing: Preprocessing, *, skip_bad: bool, keep: bool
) -> Checked:
    """Decode all `paths`. Unless `skip_bad`, an image that cannot be decoded is a BadArtifact."""
    histogram = np.zeros((preprocessing["channels"], 256), np.int64)
    kept: list[Tensor] = []
    bad: dict[int, str] = {}

    def decode(path: Path) -> Tensor | str:
        try:
            return to_pixels(centre_crop(path, preprocessing))
        except BadArtifact as error:
            return str(error)

    started = said = time.monotonic()
    with ThreadPoolExecutor(num_threads()) as pool:
        for first in range(0, len(paths), _CHUNK):
            for index, image in enumerate(pool.map(decode, paths[first : first + _CHUNK]), first):
                if isinstance(image, str):
                    bad[index] = image
                    continue
                for counts, channel in zip(histogram, image.numpy(), strict=True):
                    counts += np.bincount(channel.ravel(), minlength=256)
                if keep:
                    kept.append(image)
            if time.monotonic() - said > SAY_AFTER_S:
                said = time.monotonic()
                done = min(first + _CHUNK, len(paths))
                speed = done / (said - started)
                print(f"zoo: checked {done} of {len(paths)} images, {speed:.0f}/s", file=sys.stderr)
    if bad and not skip_bad:
        others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise BadArtifact(f"{next(iter(bad.values()))}{others}, or leave such out with --skip-bad")
    pixels = torch.stack(kept) if keep and kept else None
    return Checked(histogram=histogram, pixels=pixels, bad=tuple(bad))
