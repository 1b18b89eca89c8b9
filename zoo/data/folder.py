"""A folder of images. Every file is checked first, and decoded again when it is needed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.data.augment import Augment
from zoo.data.base import Data, Histogram, Preprocessing, Split, check_preprocessing, measured
from zoo.data.checking import check_images, num_threads
from zoo.data.images import centre_crop, crop_at_random, sized, to_image, to_pixels
from zoo.data.memory import change_each, finish, position_rng
from zoo.data.policies import apply_policy
from zoo.errors import BadArtifact, UsageError

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
VALIDATION_SHARE = 0.2
KEPT_BYTES = 512 * 2**20
"""Sets whose centre crops fit into this stay in memory. Larger ones are decoded each time."""


@dataclass(frozen=True, kw_only=True)
class ImageList:
    """Image files below one folder, with their classes."""

    root: Path
    names: tuple[str, ...]
    """Relative to `root`, in byte order within each class."""
    labels: tuple[int, ...]


class FolderSplit(Split):
    """The images of a list. `pixels` (N, C, H, W) uint8 are their centre crops, if kept."""

    def __init__(
        self, listing: ImageList, preprocessing: Preprocessing, pixels: Tensor | None = None
    ) -> None:
        self.root = listing.root
        # One block of bytes. A list of names would be copied page by page into each worker, because
        # reading it writes reference counts.
        self._names = np.array([os.fsencode(name) for name in listing.names], dtype=np.bytes_)
        self.labels = torch.tensor(listing.labels, dtype=torch.int64)
        self.preprocessing = preprocessing
        self.pixels = pixels

    def path(self, index: int) -> Path:
        """The file of one image."""
        return self.root / os.fsdecode(bytes(self._names[index]))

    def decodes(self, augment: Augment | None) -> bool:
        return self.pixels is None or (augment is not None and augment.area is not None)

    def load(self, indices: Tensor, augment: Augment | None = None, seed: int = 0) -> Tensor:
        if self.pixels is not None and not self.decodes(augment):
            pixels = self.pixels.index_select(0, indices)
            if augment is not None and augment.policy:
                images = (to_image(each) for each in pixels)
                pixels = change_each(images, augment, seed, self.preprocessing)
        else:
            pixels = torch.stack(
                [
                    self._decode(index, augment, seed, position)
                    for position, index in enumerate(indices.tolist())
                ]
            )
        return finish(pixels, 255, augment, seed, self.preprocessing)

    def tensors(self) -> tuple[Tensor, Tensor]:
        with ThreadPoolExecutor(num_threads()) as pool:
            images = list(pool.map(self.load, torch.split(torch.arange(len(self)), 64)))
        return torch.cat(images), self.labels

    def _decode(self, index: int, augment: Augment | None, seed: int, position: int) -> Tensor:
        """One image as (C, H, W) uint8, cropped and changed by the policy."""
        if augment is None:
            return to_pixels(centre_crop(self.path(index), self.preprocessing))
        rng = position_rng(seed, position)
        if augment.area:
            wanted = sized(self.preprocessing, augment.size)
            image = crop_at_random(self.path(index), augment.area, rng, wanted)
        else:
            image = centre_crop(self.path(index), self.preprocessing)
        if augment.policy:
            image = apply_policy(augment.policy, image, rng, self.preprocessing["mean"])
        return to_pixels(image)


def load_folder(
    path: str | Path,
    *,
    size: int = 64,
    channels: int = 3,
    seed: int = 0,
    skip_bad: bool = False,
    preprocessing: Preprocessing | None = None,
    resize: int | None = None,
    interpolation: str = "bilinear",
    only_test: bool = False,
) -> Data:
    """Images in FOLDER/train/CLASS/* and FOLDER/val/CLASS/* (or test/), or in FOLDER/CLASS/*.

    Without two such halves, a seeded fifth of every class tests. Classes are in byte order of
    their folders' names. Every image is resized to `resize` pixels on its shorter side (`size` if
    that is None), and its centre of `size` x `size` is cropped. `preprocessing` replaces both, and
    the statistics of the training half, which normalise otherwise.
    Every file is decoded once before this returns. `skip_bad` leaves out files that cannot be.
    `only_test` checks the test half alone, and needs `preprocessing`. Raises UsageError if the
    folder is missing, and BadArtifact for a corrupt image, an empty class or a single class.
    """
    root = _existing(path)
    classes, *halves = _halves(root, seed)
    wanted = preprocessing or _unmeasured(size, channels, resize, interpolation)
    check_preprocessing(wanted)
    keep = _num_bytes(halves, wanted) <= KEPT_BYTES
    splits: list[FolderSplit] = []
    skipped: list[str] = []
    for half in halves:
        train = not splits
        if train and only_test and preprocessing is not None:
            splits.append(FolderSplit(half, wanted))
            continue
        paths = [half.root / name for name in half.names]
        checked = check_images(paths, wanted, skip_bad=skip_bad, keep=keep)
        if train and preprocessing is None:
            wanted = _with_statistics(wanted, checked.histogram)
        skipped += [str(paths[index].relative_to(root)) for index in checked.bad]
        half = _without(half, set(checked.bad), classes, train)
        splits.append(FolderSplit(half, wanted, checked.pixels))
    return Data(
        name="folder",
        path=str(root),
        train=splits[0],
        test=splits[1],
        classes=classes,
        preprocessing=wanted,
        skipped=tuple(skipped),
    )


def _existing(path: str | Path) -> Path:
    """The whole path of a folder; UsageError if there is none."""
    root = Path(path).resolve()
    if not root.is_dir():
        raise UsageError(
            f"--data {root}: no such folder; give one with a folder for each class, or "
            "digits, cifar10, cifar100, synthetic"
        )
    return root


def _num_bytes(halves: list[ImageList], preprocessing: Preprocessing) -> int:
    """Bytes of the centre crops of all images."""
    channels, height, width = (preprocessing[key] for key in ("channels", "height", "width"))
    return channels * height * width * sum(len(half.names) for half in halves)


def _unmeasured(size: int, channels: int, resize: int | None, interpolation: str) -> Preprocessing:
    """Preprocessing that leaves pixels in 0..1, until their statistics are known."""
    form = Preprocessing(
        channels=channels, height=size, width=size, mean=[0.0] * channels, std=[1.0] * channels
    )
    if resize is not None:
        form["resize"] = resize
    if interpolation != "bilinear":
        form["interpolation"] = interpolation
    return form


def _with_statistics(preprocessing: Preprocessing, histogram: Histogram) -> Preprocessing:
    """The same preprocessing, with the mean and the deviation of these pixels."""
    own = measured(histogram, preprocessing["height"], preprocessing["width"])
    return {**preprocessing, "mean": own["mean"], "std": own["std"]}


def _halves(root: Path, seed: int) -> tuple[tuple[str, ...], ImageList, ImageList]:
    """The classes, the images that train, and the images that test."""
    if not (root / "train").is_dir():
        classes = _classes(root)
        return classes, *_split(_list(root, classes), classes, seed)
    held_out = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
    if held_out is None:
        raise BadArtifact(f"--data {root}: has train/ but neither val/ nor test/ beside it")
    classes, others = _classes(root / "train"), _classes(held_out)
    if others != classes:
        different = sorted(set(classes) ^ set(others), key=os.fsencode)
        raise BadArtifact(
            f"--data {root}: train/ and {held_out.name}/ hold different classes: "
            f"{_few(different)} only in one of them; add or remove these folders"
        )
    return classes, _list(root / "train", classes), _list(held_out, classes)


def _few(names: list[str]) -> str:
    """The first five names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _classes(folder: Path) -> tuple[str, ...]:
    names = [entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."]
    names.sort(key=os.fsencode)
    if len(names) < 2:
        raise BadArtifact(
            f"{folder}: found {len(names)} class folders {names}; at least two are needed"
        )
    return tuple(names)


def _list(root: Path, classes: tuple[str, ...]) -> ImageList:
    """All images below `root`. Hidden files are left out: macOS puts one beside every image."""
    names: list[str] = []
    labels: list[int] = []
    for label, folder in enumerate(classes):
        with os.scandir(root / folder) as entries:
            images = [
                f"{folder}/{entry.name}"
                for entry in entries
                if entry.name.lower().endswith(IMAGE_SUFFIXES)
                and entry.name[0] != "."
                and not entry.is_dir()
            ]
        if not images:
            raise BadArtifact(f"{root / folder}: no images ({', '.join(IMAGE_SUFFIXES)})")
        names += sorted(images, key=os.fsencode)
        labels += [label] * len(images)
    return ImageList(root=root, names=tuple(names), labels=tuple(labels))


def _split(listing: ImageList, classes: tuple[str, ...], seed: int) -> tuple[ImageList, ImageList]:
    """Hold out a seeded fifth of every class, but at least one image and never all."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(listing.labels)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label, name in enumerate(classes):
        members = torch.nonzero(labels == label).flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        if len(members) < 2:
            raise BadArtifact(
                f"{listing.root / name} has one image; two are needed, one to train and one to test"
            )
        held_out[members[: max(1, round(VALIDATION_SHARE * len(members)))]] = True
    return _only(listing, (~held_out).tolist()), _only(listing, held_out.tolist())


def _only(listing: ImageList, kept: list[bool]) -> ImageList:
    pairs = zip(listing.names, listing.labels, kept, strict=True)
    chosen = [(name, label) for name, label, keep in pairs if keep]
    return ImageList(
        root=listing.root,
        names=tuple(name for name, _ in chosen),
        labels=tuple(label for _, label in chosen),
    )


def _without(listing: ImageList, bad: set[int], classes: tuple[str, ...], train: bool) -> ImageList:
    """The list without its bad images. A class without a good image is a BadArtifact."""
    rest = _only(listing, [index not in bad for index in range(len(listing.names))])
    for label in sorted(set(listing.labels) - set(rest.labels)):
        use = "train" if train else "test"
        raise BadArtifact(
            f"{listing.root / classes[label]}: no readable image is left to {use} with; "
            "add some or remove the class"
        )
    return rest
