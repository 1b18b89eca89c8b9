"""Files of tensors that both readers must take, and files that both must refuse.

The C++ tests walk the same files. `python -m tests.support.make_tensors` writes them.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from compile.artifact import tensors
from compile.artifact.reading import golden_tensors
from compile.artifact.tensors import Wanted, check_tensors, read_tensors, write_tensors
from compile.errors import BadArtifact
from tests.support import make_tensors
from tests.support.make_tensors import FOLDER


def names(pattern: str) -> list[str]:
    return sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob(pattern))


@pytest.mark.parametrize("name", names("sound/*.safetensors"))
def test_a_sound_file_is_read(name: str) -> None:
    with (FOLDER / name).open("rb") as stream:
        check_tensors(stream, name)
    assert read_tensors(str(FOLDER / name), name) is not None


@pytest.mark.parametrize("name", names("forged/*.safetensors"))
def test_a_forged_file_is_refused_in_one_line(name: str) -> None:
    with (FOLDER / name).open("rb") as stream, pytest.raises(BadArtifact) as caught:
        check_tensors(stream, name)
    assert name in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_header_of_more_than_a_mebibyte_is_refused() -> None:
    header = b"{" + b" " * 2**20 + b"}"
    with pytest.raises(BadArtifact, match="header"):
        check_tensors(io.BytesIO(len(header).to_bytes(8, "little") + header), "long")


@pytest.mark.parametrize("name", names("sound/*.npy"))
def test_numpy_reads_what_zoo_run_must_read(name: str) -> None:
    np.load(FOLDER / name, allow_pickle=False)


def test_the_corpus_is_what_its_script_writes() -> None:
    lying = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in FOLDER.rglob("*")
        if path.is_file()
    }
    assert lying == make_tensors.files()


ANY_SHAPE = FOLDER.parent / "manifests" / "sound" / "outputs-of-any-shape.json"
GOLDEN_FORGED: dict[str, str] = json.loads((FOLDER / "golden" / "forged.json").read_text())


def check_golden(name: str) -> None:
    """Hold a file of tests/data/tensors/golden to the manifest that it belongs to."""
    with (FOLDER / "golden" / name).open("rb") as stream:
        check_tensors(stream, name, golden_tensors(json.loads(ANY_SHAPE.read_text())))


def test_a_golden_file_for_outputs_of_any_shape_is_read() -> None:
    check_golden("sound/any-shape.safetensors")


@pytest.mark.parametrize("name", GOLDEN_FORGED)
def test_a_golden_file_that_lies_is_refused_by_the_tensor(name: str) -> None:
    with pytest.raises(BadArtifact) as caught:
        check_golden(f"forged/{name}")
    assert GOLDEN_FORGED[name] in str(caught.value)


def test_positions_ascend_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that ends between two equal positions hides nothing."""
    for chunk in (8, 16):
        monkeypatch.setattr(tensors, "_CHUNK", chunk)
        check_golden("sound/any-shape.safetensors")
        with pytest.raises(BadArtifact, match="positions/map"):
            check_golden("forged/positions-twice.safetensors")


WANTED = {"a": Wanted(dtype="float32", shape=(2, 3)), "b": Wanted(dtype="uint8", shape=(4,))}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.uint8)}, None),
        ({"a": torch.zeros(2, 3)}, "must hold"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(4)}, "wants U8"),
        ({"a": torch.zeros(3, 2), "b": torch.zeros(4, dtype=torch.uint8)}, r"wants F32 \[2, 3\]"),
    ],
)
def test_a_file_holds_what_is_wanted(
    tensors: dict[str, torch.Tensor], words: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, tensors)
    with path.open("rb") as stream:
        if words is None:
            check_tensors(stream, "x", WANTED)
            read = read_tensors(str(path), "x")
            assert all(torch.equal(read[name], tensors[name]) for name in tensors)
        else:
            with pytest.raises(BadArtifact, match=words):
                check_tensors(stream, "x", WANTED)


def test_values_are_finite(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", {"a": torch.tensor([1.0, torch.nan])})
    with pytest.raises(BadArtifact, match="'a' holds NaN or infinity"):
        read_tensors(str(tmp_path / "x.safetensors"), "x")
