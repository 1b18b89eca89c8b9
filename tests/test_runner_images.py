"""zoo-run --image: the input that it makes of a picture is the one that Python makes."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from compile.artifact.manifest import GOLDEN, write_manifest
from compile.artifact.publishing import file_entries
from compile.artifact.tensors import write_tensors
from tests.support.manifests import base
from tests.support.picture_bytes import RGB, jpegs, photo, png, pngs
from tests.support.runner import refused, run
from zoo.data import normalise, read_image
from zoo.data.base import Preprocessing
from zoo.errors import BadArtifact

SIZES = [(50, 70), (301, 203), (3, 90), (1, 1), (224, 224), (640, 481)]
"""Width and height of pictures."""
GREY = Preprocessing(channels=1, height=24, width=40, mean=[0.3], std=[0.2])
COLOUR = Preprocessing(
    channels=3, height=32, width=32, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
)
FORMS = {
    "grey": GREY,
    "grey-resized": GREY | {"resize": 45},
    "colour": COLOUR,
    "resized": COLOUR | {"height": 97, "resize": 111, "interpolation": "bicubic"},
}
NAMES = ["tench", "\x1b[2Jowned", "cat", "dog", "house", "boat"]
ONE_LEVEL = 1 / 255


class Mean(torch.nn.Module):
    """Scores that tell pictures apart: multiples of the mean of all pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean((1, 2, 3)).unsqueeze(1) * torch.arange(6.0)


def artifact(
    folder: Path, pixels: Preprocessing | None, *, as_bytes: bool = False, **changes: Any
) -> Path:
    """Write an artifact of `Mean` with this preprocessing. `changes` replace manifest fields."""
    folder.mkdir()
    chw = (
        [3, 32, 32] if pixels is None else [pixels[key] for key in ("channels", "height", "width")]
    )
    shape = [*chw[1:], chw[0]] if as_bytes else chw
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        torch.jit.script(Mean()).save(folder / "model.ts")
    x = torch.zeros(16, *shape, dtype=torch.uint8 if as_bytes else torch.float32)
    write_tensors(
        folder / GOLDEN, {"inputs/input": x, "oracle/logits": torch.zeros(16, 6).double()}
    )
    manifest = base()
    manifest["model"]["preprocessing"] = pixels
    kind = ("uint8", "NHWC") if as_bytes else ("float32", "NCHW")
    manifest["inputs"][0].update(dtype=kind[0], layout=kind[1], shape=shape)
    manifest["outputs"] = [{"name": "logits", "dtype": "float32", "shape": [6], "classes": NAMES}]
    manifest["requirements"].update(torch=torch.__version__.split("+")[0], isa=[], load_first=[])
    manifest["target"]["cpuid"] = []
    manifest.update(files=file_entries(folder), graph=None, **changes)
    write_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of every kind and size."""
    files = []
    for width, height in SIZES:
        folder = tmp_path_factory.mktemp(f"pictures-{width}x{height}")
        for name, content in [*jpegs(width, height), *pngs(width, height)]:
            (folder / name).write_bytes(content)
            files.append(folder / name)
    return files


# Pillow says that one of the files has two orientations; it takes the first, as zoo-run does.
@pytest.mark.filterwarnings("ignore:Metadata Warning, tag 274")
@pytest.mark.parametrize("form", FORMS)
def test_the_input_is_that_of_python(
    form: str, pictures: list[Path], runner: Path, tmp_path: Path
) -> None:
    pixels = FORMS[form]
    folder, saved = artifact(tmp_path / "a", pixels), tmp_path / "x.npy"
    code, _, err = run(runner, folder, "--image", *pictures, "--save-input", saved)
    assert code == 0, err
    ours = np.load(saved)
    std = np.array(pixels["std"]).reshape(-1, 1, 1)
    for row, path in zip(ours, pictures, strict=True):
        theirs = normalise(read_image(path, pixels), pixels).numpy()
        levels = np.abs((row - theirs) * std).max() / ONE_LEVEL
        assert levels < 1.01, (path, levels)
    # Both compute the same, so that what is allowed above is for other versions of libjpeg.
    assert np.array_equal(ours[-1], theirs)


def test_bytes_are_given_to_a_program_of_bytes(
    pictures: list[Path], runner: Path, tmp_path: Path
) -> None:
    folder, saved = artifact(tmp_path / "a", COLOUR, as_bytes=True), tmp_path / "x.npy"
    code, _, err = run(runner, folder, "--image", *pictures[:9], "--save-input", saved)
    assert code == 0, err
    for row, path in zip(np.load(saved), pictures, strict=False):
        theirs = read_image(path, COLOUR).mul(255).round().permute(1, 2, 0).numpy()
        assert row.dtype == np.uint8
        assert np.abs(row.astype(int) - theirs).max() <= 1, path


def test_the_classes_are_named(pictures: list[Path], runner: Path, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "a", COLOUR)
    some = pictures[:2]
    code, out, err = run(runner, folder, "--image", *some, "--json", tmp_path / "r.json")
    assert code == 0, err
    said = [line for line in out.splitlines() if ".jpg: " in line]
    report = json.loads((tmp_path / "r.json").read_text())["run"]
    assert [image["image"] for image in report["images"]] == [str(path) for path in some]
    for path, line, image in zip(some, said, report["images"], strict=True):
        scores = Mean()(normalise(read_image(path, COLOUR), COLOUR).unsqueeze(0))[0]
        probabilities, indices = scores.softmax(0).topk(5)
        assert [one["index"] for one in image["classes"]] == indices.tolist()
        assert [one["class"] for one in image["classes"]] == [NAMES[i] for i in indices]
        assert [one["probability"] for one in image["classes"]] == pytest.approx(
            probabilities.tolist(), abs=1e-6
        )
        names = [NAMES[i].replace("\x1b", "?") for i in indices]
        shares = [f"{100 * value:.1f} %" for value in probabilities]
        pairs = list(zip(names, shares, strict=True))
        others = ", ".join(f"{name} {share}" for name, share in pairs[1:])
        assert line == f"{path}: {pairs[0][0]} ({pairs[0][1]}; then {others})"


@pytest.mark.parametrize("batch", [[8, 8], [1, 64], [2, 3]])
def test_any_number_of_pictures_fits_any_batch(
    batch: list[int], pictures: list[Path], runner: Path, tmp_path: Path
) -> None:
    """A call that is not full is filled up with the last picture, of which nothing is said."""
    programs = [{"file": "model.ts", "batch": batch, "entry": None}]
    folder = artifact(tmp_path / "a", COLOUR, programs=programs)
    for count in (1, 3, 10):
        output = tmp_path / "y.npy"
        command = [folder, "--image", *pictures[:count], "--output", output, "--json", "-"]
        code, out, err = run(runner, *command)
        assert code == 0, err
        report = json.loads(out)["run"]
        assert (report["rows"], len(report["images"])) == (count, count)
        images = [normalise(read_image(path, COLOUR), COLOUR) for path in pictures[:count]]
        assert np.allclose(np.load(output), Mean()(torch.stack(images)).numpy(), atol=1e-4)


def test_what_is_no_picture_is_refused(runner: Path, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "a", COLOUR)
    image = Image.fromarray(photo(40, 30, 3))
    files: dict[str, tuple[bytes, str]] = {
        "empty.jpg": (b"", "it is empty"),
        "text.jpg": (b"no picture", "is not a JPEG or PNG picture; convert it"),
        "huge.png": (
            png(photo(4, 4, 3), 8, RGB, size=(50_000, 50_000)),
            "claims 50000x50000 pixels, at most 178956970 are read",
        ),
        "\x1b[2J.png": (
            b"\x89PNG\r\n\x1a\n",
            "/?[2J.png: not a readable picture (it ends too early)",
        ),
    }
    for kind, name in (("WEBP", "a WebP"), ("TIFF", "a TIFF"), ("GIF", "a GIF"), ("BMP", "a BMP")):
        file = io.BytesIO()
        image.save(file, kind)
        files[f"{kind}.jpg"] = (file.getvalue(), f"is {name} picture; zoo-run reads JPEG and PNG")
    for name, (content, words) in files.items():
        (tmp_path / name).write_bytes(content)
        assert words in refused(runner, folder, "--image", tmp_path / name, code=3)
    assert "is a folder" in refused(runner, folder, "--image", tmp_path, code=3)
    assert "No such file" in refused(runner, folder, "--image", tmp_path / "none.jpg", code=3)


def test_no_result_replaces_a_picture(runner: Path, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "a", COLOUR)
    picture = tmp_path / "x.npy"
    picture.write_bytes(png(photo(40, 30, 3), 8, RGB))
    for flag in ("--json", "--output", "--save-input"):
        line = refused(runner, folder, "--image", picture, flag, picture, code=2)
        assert f"{flag} {picture}: is a file of --image" in line
    same = ["--output", tmp_path / "y.npy", "--save-input", tmp_path / "y.npy"]
    words = "is the file of --output; name another"
    assert words in refused(runner, folder, "--image", picture, *same, code=2)


def test_the_limit_is_that_of_python(tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(png(photo(4, 4, 3), 8, RGB, size=(50_000, 50_000)))
    with pytest.raises(BadArtifact, match="178956970 pixels"):
        read_image(tmp_path / "huge.png", COLOUR)


def test_an_artifact_that_takes_no_pictures_says_what_to_use(runner: Path, tmp_path: Path) -> None:
    picture = tmp_path / "photo.png"
    picture.write_bytes(png(photo(40, 30, 3), 8, RGB))
    words = "does not say how pixels become its input; give --input FILE"
    assert words in refused(runner, artifact(tmp_path / "a", None), "--image", picture, code=2)
    wide = COLOUR | {"mean": [0.5], "std": [1.0]}
    words = "mean and std need one number for each of 3 channels"
    assert words in refused(runner, artifact(tmp_path / "b", wide), "--image", picture, code=3)


def test_an_output_without_classes_can_be_written(runner: Path, tmp_path: Path) -> None:
    picture, values = tmp_path / "photo.png", tmp_path / "y.npy"
    picture.write_bytes(png(photo(40, 30, 3), 8, RGB))
    output = {"name": "logits", "dtype": "float32", "shape": [6]}
    parity = base()["parity"]
    parity["outputs"][0]["top1"] = None
    folder = artifact(tmp_path / "a", COLOUR, outputs=[output], parity=parity)
    words = "scores no classes, it gives logits float32 [6]; add --output FILE"
    assert words in refused(runner, folder, "--image", picture, code=2)
    code, out, err = run(runner, folder, "--image", picture, "--output", values)
    assert code == 0, err
    assert "1 rows in all" in out
    assert np.load(values).shape == (1, 6)
