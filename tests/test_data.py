"""Data: the split by writers, the shifts, folders of images, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from zoo.data import (
    Preprocessing,
    load_digits_split,
    load_folder,
    normalise,
    random_flip,
    random_shift,
    read_image,
)
from zoo.errors import BadArtifact, UsageError


def form(channels: int, height: int, width: int, **more: Any) -> Preprocessing:
    """Preprocessing that leaves pixels in 0..1."""
    return Preprocessing(
        channels=channels,
        height=height,
        width=width,
        mean=[0.0] * channels,
        std=[1.0] * channels,
        **more,
    )


def picture(path: Path, value: int, size: tuple[int, int] = (12, 10)) -> None:
    """Write an RGB image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value // 2, 0)).save(path)


def folder_of_classes(root: Path, names: tuple[str, ...] = ("b", "a", "B"), count: int = 5) -> Path:
    for index, name in enumerate(names):
        for number in range(count):
            picture(root / name / f"{number}.png", 40 * index + number)
    return root


def test_digits_are_split_by_order_so_that_writers_do_not_leak() -> None:
    data = load_digits_split()
    bundle = load_digits()
    assert (len(data.train), len(data.test)) == (898, 899)
    labels = torch.from_numpy(bundle.target)
    assert torch.equal(torch.cat([data.train.labels, data.test.labels]), labels)
    pixels = torch.from_numpy(bundle.images.astype(np.float32) / 16).unsqueeze(1)
    assert torch.equal(data.train.tensors()[0], normalise(pixels[:898], data.preprocessing))
    assert torch.equal(data.test.tensors()[0], normalise(pixels[898:], data.preprocessing))
    assert data.shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")


def test_digits_are_normalised_by_the_training_half_alone() -> None:
    data = load_digits_split()
    pixels = load_digits().images[:898] / 16
    assert data.preprocessing["mean"] == [pytest.approx(pixels.mean(), abs=1e-6)]
    assert data.preprocessing["std"] == [pytest.approx(pixels.std(), abs=1e-5)]
    assert abs(data.train.tensors()[0].mean()) < 1e-4
    assert abs(data.test.tensors()[0].mean()) > 1e-3, "the test half must not have been used"


def test_shifts_move_by_at_most_one_pixel_and_use_all_nine_offsets() -> None:
    background = torch.full((1, 1, 1, 1), -0.5)
    images = torch.full((900, 1, 8, 8), -0.5)
    images[:, 0, 4, 3] = 1.0
    shifted = random_shift(images, 1, background, torch.Generator().manual_seed(0))
    where = torch.nonzero(shifted == 1.0)
    assert len(where) == len(images), "each image still has its one bright pixel"
    offsets = {(int(row) - 4, int(column) - 3) for _, _, row, column in where}
    assert offsets == {(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)}
    counts = torch.unique(where[:, 2:], dim=0, return_counts=True)[1]
    assert counts.min() > 60, "every offset is about equally likely"


def test_shifts_bring_in_background_and_nothing_wraps_around() -> None:
    images = torch.ones(200, 2, 4, 4)
    background = torch.tensor([-1.0, -2.0]).view(1, 2, 1, 1)
    shifted = random_shift(images, 1, background, torch.Generator().manual_seed(0))
    assert set(shifted[:, 0].unique().tolist()) == {-1.0, 1.0}
    assert set(shifted[:, 1].unique().tolist()) == {-2.0, 1.0}
    assert (shifted[:, :, 1:3, 1:3] == 1).all(), "the middle is never background"


def test_augmentation_is_seeded() -> None:
    images = torch.randn(32, 1, 8, 8)
    zero = torch.zeros(1, 1, 1, 1)
    runs = [random_shift(images, 1, zero, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert random_shift(images, 0, zero, torch.Generator()) is images
    flipped = random_flip(images, torch.Generator().manual_seed(0))
    kinds = [
        torch.equal(a, b) + 2 * torch.equal(a, b.flip(2))
        for a, b in zip(flipped, images, strict=True)
    ]
    assert set(kinds) == {1, 2}


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_folder_with_two_halves(tmp_path: Path, held_out: str) -> None:
    folder_of_classes(tmp_path / "train")
    folder_of_classes(tmp_path / held_out, count=2)
    data = load_folder(tmp_path, size=8)
    assert data.classes == ("B", "a", "b"), "byte order"
    assert data.train.tensors()[0].shape == (15, 3, 8, 8)
    assert data.test.tensors()[0].shape == (6, 3, 8, 8)
    assert data.train.tensors()[0].dtype == torch.float32
    assert data.path == str(tmp_path)
    assert data.preprocessing["mean"][2] == 0


def test_folder_without_halves_is_split_with_the_seed(tmp_path: Path) -> None:
    folder_of_classes(tmp_path, count=10)
    data, again, other = (load_folder(tmp_path, size=4, seed=seed) for seed in (0, 0, 1))
    assert data.test.labels.tolist() == [0, 0, 1, 1, 2, 2], "a fifth of every class"
    assert len(data.train) == 24
    assert torch.equal(data.test.tensors()[0], again.test.tensors()[0])
    assert not torch.equal(data.test.tensors()[0], other.test.tensors()[0])


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        load_folder(tmp_path / "absent")
    picture(tmp_path / "one" / "cat" / "1.png", 1)
    with pytest.raises(BadArtifact, match=r"found 1 class folders \['cat'\]"):
        load_folder(tmp_path / "one")
    folder_of_classes(tmp_path / "empty")
    (tmp_path / "empty" / "hollow").mkdir()
    with pytest.raises(BadArtifact, match="hollow"):
        load_folder(tmp_path / "empty")
    broken = folder_of_classes(tmp_path / "broken") / "a" / "3.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(BadArtifact, match=r"a/3\.png"):
        load_folder(tmp_path / "broken")
    folder_of_classes(tmp_path / "halved" / "train")
    with pytest.raises(BadArtifact, match="neither val/ nor test/"):
        load_folder(tmp_path / "halved")
    folder_of_classes(tmp_path / "halved" / "val", ("a", "b"))
    with pytest.raises(BadArtifact, match="different classes"):
        load_folder(tmp_path / "halved")


def test_an_image_is_resized_on_its_shorter_side_and_cropped_in_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16), dtype=np.uint8)
    pixels[:, 4:12] = 255  # the central square is white
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "wide.png", form(1, 8, 8)) == 1).all()
    assert read_image(tmp_path / "wide.png", form(3, 4, 4)).shape == (3, 4, 4)
    assert read_image(tmp_path / "wide.png", form(1, 5, 11)).shape == (1, 5, 11)


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    for name, words in (("text.png", "not a readable image"), ("absent.png", "no such image")):
        with pytest.raises(BadArtifact, match=rf"{name}: {words}"):
            read_image(tmp_path / name, form(1, 8, 8))
    with pytest.raises(BadArtifact, match=tmp_path.name):
        read_image(tmp_path, form(1, 8, 8))
    picture(tmp_path / "good.png", 1)
    with pytest.raises(UsageError, match="2 channels"):
        read_image(tmp_path / "good.png", form(2, 8, 8))


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 30_000, np.uint16)).save(tmp_path / "grey.png")
    pixels = read_image(tmp_path / "grey.png", form(1, 8, 8))
    assert torch.allclose(pixels, torch.tensor(30_000 / 65_535), atol=1 / 255)


def test_a_photo_taken_sideways_is_turned(tmp_path: Path) -> None:
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))  # light above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.jpg", exif=exif)
    pixels = read_image(tmp_path / "turned.jpg", form(1, 8, 8))
    assert pixels[0, 7].mean() > 0.9 > 0.1 > pixels[0, 0].mean()


def test_a_folder_keeps_the_statistics_it_is_given(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for shade in (10, 200):
            Image.new("RGB", (8, 8), (shade,) * 3).save(tmp_path / name / f"{shade}.png")
    own = load_folder(tmp_path, size=8)
    given = {**own.preprocessing, "mean": [0.5] * 3, "std": [0.5] * 3}
    again = load_folder(tmp_path, size=8, preprocessing=given)
    assert again.preprocessing == given
    assert not torch.equal(own.train.tensors()[0], again.train.tensors()[0])
