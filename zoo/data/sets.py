"""The word after --data, as a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.data.base import Data, Preprocessing
from zoo.data.cifar import FORMS, load_cifar
from zoo.data.digits import load_digits_split, make_synthetic
from zoo.data.folder import load_folder
from zoo.errors import UsageError


def load(
    spec: str,
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
    """The data set that `spec` names: digits, cifar10, cifar100, synthetic or a folder's path.

    A word may have more after a colon: cifar10:FOLDER, synthetic:CLASSES or
    synthetic:CLASSES:IMAGES. `size`, `channels`, `resize` and `interpolation` are for folders.
    The first two are also for synthetic images. The other sets have their own. `seed` splits a
    folder that is not split, and makes synthetic images. `preprocessing` replaces all of these,
    and the statistics of the training half, so a run's preprocessing gives the same input again.
    `skip_bad` and `only_test` are those of load_folder. Raises UsageError for an unknown word,
    BadArtifact for images that cannot be used, and Unavailable if a set cannot be fetched.
    """
    name, _, rest = spec.partition(":")
    if name == "digits" and not rest:
        return load_digits_split(preprocessing)
    if name in FORMS:
        return load_cifar(name, rest or None, preprocessing=preprocessing)
    if name == "synthetic":
        counts = rest.split(":") if rest else []
        if len(counts) > 2 or not all(count.isdecimal() for count in counts):
            raise UsageError(f"'{spec}' is not synthetic:CLASSES:IMAGES, such as synthetic:10:1024")
        return make_synthetic(
            **dict(zip(("classes", "images"), map(int, counts), strict=False)),
            size=preprocessing["height"] if preprocessing else size,
            channels=preprocessing["channels"] if preprocessing else channels,
            seed=seed,
            preprocessing=preprocessing,
        )
    return load_folder(
        spec,
        size=size,
        channels=channels,
        seed=seed,
        skip_bad=skip_bad,
        preprocessing=preprocessing,
        resize=resize,
        interpolation=interpolation,
        only_test=only_test,
    )


def spec_of(record: Mapping[str, Any]) -> str:
    """The word that loads what Data.record describes."""
    name, path = record["name"], record.get("path")
    return str(path) if name == "folder" else f"{name}:{path}" if path else str(name)
