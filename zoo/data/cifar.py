"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), in their binary form.

Each record is one label byte and 3x32x32 pixels. CIFAR-100 has two label bytes, the second finer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.data.base import Data, Preprocessing
from zoo.data.fetch import Archive, fetch
from zoo.data.memory import in_memory
from zoo.errors import BadArtifact, UsageError

SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
ROOT = Path("data")
"""Where a fetched set lies, in the working directory, as runs/ and artifacts/ do."""


@dataclass(frozen=True, kw_only=True)
class CifarForm:
    """How one of the sets is stored."""

    archive: Archive
    train: tuple[str, ...]
    """The files to train on."""
    test: str
    """The file to test on."""
    names: str
    """The file with one class name on each line."""
    classes: int
    """How many classes there are."""
    labels: int
    """Bytes before the pixels of an image. The last of them is the label."""


_PER_FILE = 10_000

FORMS = {
    "cifar10": CifarForm(
        archive=Archive(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            size=170_052_171,
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            folder="cifar-10-batches-bin",
            files={
                **{f"data_batch_{part}.bin": _PER_FILE * (1 + _PIXELS) for part in range(1, 6)},
                "test_batch.bin": _PER_FILE * (1 + _PIXELS),
                "batches.meta.txt": None,
            },
        ),
        train=tuple(f"data_batch_{part}.bin" for part in range(1, 6)),
        test="test_batch.bin",
        names="batches.meta.txt",
        classes=10,
        labels=1,
    ),
    "cifar100": CifarForm(
        archive=Archive(
            url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            size=168_513_733,
            sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            folder="cifar-100-binary",
            files={
                "train.bin": 5 * _PER_FILE * (2 + _PIXELS),
                "test.bin": _PER_FILE * (2 + _PIXELS),
                "fine_label_names.txt": None,
            },
        ),
        train=("train.bin",),
        test="test.bin",
        names="fine_label_names.txt",
        classes=100,
        labels=2,
    ),
}


def load_cifar(
    name: str, folder: str | Path | None = None, *, preprocessing: Preprocessing | None = None
) -> Data:
    """`cifar10` or `cifar100`: 50,000 images to train on and 10,000 to test, 3x32x32 pixels.

    They are read from `folder`, which holds the .bin files or the folder of them. Without
    `folder` they are fetched once into data/. Raises UsageError if there is no such folder,
    BadArtifact if a file is missing, has another size or an unknown label, and Unavailable if the
    set cannot be fetched.
    """
    form = FORMS[name]
    if folder is None:
        folder = fetch(
            form.archive,
            ROOT,
            instead=f"unpack that archive yourself and give --data {name}:FOLDER",
        )
    root = Path(folder).resolve()
    if not root.is_dir():
        raise UsageError(f"--data {name}:{root}: no such folder; it must hold {form.test}")
    if not (root / form.test).exists() and (root / form.archive.folder).is_dir():
        root = root / form.archive.folder
    classes = tuple(_read(root / form.names, None).decode(errors="replace").split())
    if len(classes) != form.classes or len(set(classes)) != form.classes:
        raise BadArtifact(
            f"{root / form.names}: {len(classes)} class names, {form.classes} different ones are "
            "needed; unpack the archive again"
        )
    parts = [_read_records(root / file, form) for file in form.train]
    return in_memory(
        name=name,
        path=str(root),
        train=(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])),
        test=_read_records(root / form.test, form),
        classes=classes,
        preprocessing=preprocessing,
    )


def _read(path: Path, size: int | None) -> bytes:
    """The content of a file; BadArtifact unless it has `size` bytes, if that is given."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadArtifact(
            f"{path}: cannot be read ({error.strerror}); unpack the archive again"
        ) from None
    if size is not None and len(content) != size:
        raise BadArtifact(f"{path}: has {len(content)} bytes, not {size}; unpack the archive again")
    return content


def _read_records(path: Path, form: CifarForm) -> tuple[Tensor, Tensor]:
    """Pixels (N, 3, 32, 32) uint8 and labels (N,) int64."""
    content = _read(path, form.archive.files[path.name])
    records = np.frombuffer(bytearray(content), np.uint8).reshape(-1, form.labels + _PIXELS)
    labels = torch.from_numpy(records[:, form.labels - 1].astype(np.int64))
    wrong = torch.nonzero(labels >= form.classes).flatten()
    if len(wrong):
        first = int(wrong[0])
        raise BadArtifact(
            f"{path}: image {first} has label {int(labels[first])}, at most {form.classes - 1} is "
            "allowed; unpack the archive again"
        )
    pixels = torch.from_numpy(records[:, form.labels :].copy())
    return pixels.view(-1, *SHAPE), labels
