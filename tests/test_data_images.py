"""Image files: evaluated as torchvision evaluates them, checked before anything depends on them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin
from sklearn.datasets import load_sample_image
from test_data import folder_of_classes, form

from tests.support.picture_bytes import tiff
from zoo.data import checking as checking_module
from zoo.data import load, load_folder, read_image
from zoo.data.images import crop_at_random
from zoo.errors import BadArtifact, UsageError
from zoo.runs.checkpoint import RunConfig
from zoo.sources.source import load_data

PLAIN_AND_EXIF = ("plain.jpg", "exif.jpg")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """640x427 pixels."""
    return Image.fromarray(load_sample_image("china.jpg"))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(640, 427), (301, 444), (256, 256), (90, 200)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (232, 224), (73, 64), (64, 64)])
def test_evaluation_is_that_of_torchvision(
    interpolation: str,
    size: tuple[int, int],
    resize: int,
    crop: int,
    photo: Image.Image,
    torchvision: ModuleType,
    tmp_path: Path,
) -> None:
    photo.crop((0, 0, *size)).save(tmp_path / "photo.png")
    transforms = torchvision.transforms
    theirs = transforms.Compose(
        [
            transforms.Resize(resize, transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
        ]
    )
    wanted = form(3, crop, crop, resize=resize, interpolation=interpolation)
    with Image.open(tmp_path / "photo.png") as image:
        expected = theirs(image.convert("RGB"))
    assert torch.equal(read_image(tmp_path / "photo.png", wanted), expected)


def test_the_filters_differ_and_bilinear_is_the_default(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "photo.png")
    kinds = ({}, {"interpolation": "bilinear"}, {"interpolation": "bicubic"}, {"resize": 80})
    none, bilinear, bicubic, wider = (
        read_image(tmp_path / "photo.png", form(3, 64, 64, **kind)) for kind in kinds
    )
    assert torch.equal(none, bilinear)
    assert not torch.equal(none, bicubic)
    assert not torch.equal(none, wider)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_smaller(
    orientation: int, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo.save(tmp_path / "photo.jpg", quality=95, exif=exif)
    sizes = []
    draft = JpegImagePlugin.JpegImageFile.draft

    def spy(self, mode, size):
        found = draft(self, mode, size)
        sizes.append(self.size)
        return found

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", spy)
    for size, decoded in ((32, (160, 107)), (48, (160, 107)), (64, (320, 214)), (224, None)):
        sizes.clear()
        small = read_image(tmp_path / "photo.jpg", form(3, size, size))
        assert sizes == ([] if decoded is None else [decoded])
        with monkeypatch.context() as whole:
            whole.setattr(JpegImagePlugin.JpegImageFile, "draft", lambda *_: None)
            exact = read_image(tmp_path / "photo.jpg", form(3, size, size))
        assert (small - exact).abs().mean() < 2 / 255, "almost the same picture"
    sizes.clear()
    rng = np.random.default_rng(0)
    crop = crop_at_random(tmp_path / "photo.jpg", (0.9, 1.0), rng, form(3, 64, 64))
    assert sizes == [(160, 107)], "a random crop needs no more than its own pixels"
    assert crop.size == (64, 64)


def test_a_random_crop_of_a_file_is_a_part_of_it(photo: Image.Image, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 400, dtype=np.uint8)
    pixels = np.stack([np.tile(ramp, (300, 1)), np.tile(ramp[:300, None], (1, 400))] * 2, axis=-1)
    Image.fromarray(pixels[..., :3].copy()).save(tmp_path / "ramps.jpg", quality=100)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        crop = crop_at_random(tmp_path / "ramps.jpg", (0.25, 0.25), rng, form(3, 40, 40))
        found = np.asarray(crop, np.float64)
        across, down = (found[:, -1, 0] - found[:, 0, 0]).mean(), np.ptp(found[:, 20, 1])
        share = (across / 255) * (down / 255 * 400 / 300)
        assert share == pytest.approx(0.25 * 39 / 40 * 39 / 40, abs=0.02)
        assert 0.7 < across / down < 1.4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"resize": 63}, "resize 63 is smaller than the crop of 64x64; use 64 or more"),
        ({"interpolation": "cubic"}, "interpolation 'cubic' is unknown; use bilinear or bicubic"),
    ],
)
def test_wrong_preprocessing_is_refused(more: dict, words: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(UsageError, match=words):
        read_image(tmp_path / "x.png", form(3, 64, 64, **more))
    folder_of_classes(tmp_path / "folder")
    with pytest.raises(UsageError, match=words):
        load_folder(tmp_path / "folder", size=64, **more)


def test_a_folder_remembers_how_it_was_resized(tmp_path: Path) -> None:
    folder_of_classes(tmp_path)
    data = load(str(tmp_path), size=8, resize=10, interpolation="bicubic")
    assert (data.preprocessing["resize"], data.preprocessing["interpolation"]) == (10, "bicubic")
    plain = load(str(tmp_path), size=8)
    assert not {"resize", "interpolation"} & plain.preprocessing.keys()


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "p.png", transparency=b"\x00\xff")
    assert read_image(tmp_path / "p.png", form(3, 8, 8))[0].min() == 1


@pytest.mark.parametrize("dpi", [None, (72, 72)])
@pytest.mark.parametrize("exif", [tiff(9), tiff(0), tiff(1, kind=1), b"no EXIF", b"II*\0"])
def test_what_exif_says_amiss_turns_no_image(
    exif: bytes, dpi: tuple[int, int] | None, photo: Image.Image, tmp_path: Path
) -> None:
    options = {"dpi": dpi} if dpi else {}
    photo.save(tmp_path / "plain.jpg")
    photo.save(tmp_path / "exif.jpg", exif=b"Exif\0\0" + exif, **options)
    plain, image = (read_image(tmp_path / name, form(3, 40, 40)) for name in PLAIN_AND_EXIF)
    assert torch.equal(plain, image)


def test_every_bad_image_is_found_before_training(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path / "photos", count=10)
    for name in ("a/1.png", "a/7.png", "b/2.png"):
        whole = (root / name).read_bytes()
        (root / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadArtifact, match=r"\.png: not a readable.*--skip-bad") as error:
        load(str(root), size=8)
    assert "\n" not in str(error.value)
    data, again = (load(str(root), size=8, skip_bad=True) for _ in range(2))
    assert sorted(data.skipped) == ["a/1.png", "a/7.png", "b/2.png"]
    assert data.record["skipped"] == 3
    assert data.skipped == again.skipped
    assert len(data.train) + len(data.test) == 27
    assert torch.equal(data.train.tensors()[0], again.train.tensors()[0])
    assert data.preprocessing == again.preprocessing
    assert load(str(folder_of_classes(tmp_path / "good"))).skipped == ()


def test_what_is_skipped_moves_no_other_image(tmp_path: Path) -> None:
    whole = load(str(folder_of_classes(tmp_path / "photos", count=10)), size=8)
    names = set(whole.test._names.tolist())  # type: ignore[attr-defined]
    (tmp_path / "photos" / "a" / "3.png").write_bytes(b"")
    fewer = load(str(tmp_path / "photos"), size=8, skip_bad=True)
    assert set(fewer.test._names.tolist()) == names - {b"a/3.png"}  # type: ignore[attr-defined]


def test_a_class_without_a_readable_image_is_an_error(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path)
    for file in (root / "b").iterdir():
        file.write_bytes(b"GIF89a")
    with pytest.raises(BadArtifact, match=r"/b: no readable image is left to train"):
        load(str(root), size=8, skip_bad=True)


def test_hidden_files_are_no_images_and_dangling_links_are_bad_ones(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path)
    (root / "a" / "._1.png").write_bytes(b"\x00\x05\x16\x07")
    (root / "a" / "notes.txt").write_text("not an image")
    (root / "a" / "folder.png").mkdir()
    assert len(load(str(root), size=8).train.labels) == 12
    (root / "a" / "0.png").unlink()
    (root / "a" / "0.png").symlink_to("gone.png")
    with pytest.raises(BadArtifact, match=r"a/0\.png: no such image"):
        load(str(root), size=8)


def test_only_the_test_half_is_read_for_a_trained_network(tmp_path: Path) -> None:
    folder_of_classes(tmp_path / "train")
    shutil.copytree(tmp_path / "train", tmp_path / "val")
    data = load(str(tmp_path), size=8)
    (tmp_path / "train" / "a" / "0.png").write_bytes(b"")
    with pytest.raises(BadArtifact, match=r"train/a/0\.png"):
        load(str(tmp_path), preprocessing=data.preprocessing)
    again = load(str(tmp_path), preprocessing=data.preprocessing, only_test=True)
    assert torch.equal(again.test.tensors()[0], data.test.tensors()[0])
    with pytest.raises(BadArtifact, match=r"train/a/0\.png"):
        load(str(tmp_path), size=8, only_test=True)  # its statistics are needed


def test_a_run_finds_its_images_again_unless_their_classes_changed(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path / "photos", count=6)
    (root / "a" / "1.png").write_bytes(b"")
    data = load(str(root), size=8, seed=5, skip_bad=True)
    config = RunConfig(
        model="resnet18",
        options={},
        classes=list(data.classes),
        preprocessing=data.preprocessing,
        data=data.record,
        seed=5,
    )
    again = load_data(config)
    assert again is not None
    assert torch.equal(again.test.tensors()[0], data.test.tensors()[0])
    (root / "B").rename(root / "C")
    with pytest.raises(BadArtifact, match=r"classes C, a, b; .*was trained on B, a, b"):
        load_data(config)
    assert load_data(replace(config, data=None)) is None


def test_a_long_check_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = folder_of_classes(tmp_path)
    load(str(root), size=8)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(checking_module, "SAY_AFTER_S", -1.0)
    load(str(root), size=8)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("zoo: checked 12 of 12 images, ")
