"""What must not become a run: hostile, damaged and unfitting files. Nothing in them is run."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from compile.network.weights import weights_sha256
from tests.support.exchange import SMALL, publish, small_state
from zoo.cli import _run
from zoo.errors import BadArtifact, Unavailable, UsageError, ZooError
from zoo.exchange import import_weights
from zoo.exchange.files import read_weights


@pytest.fixture
def state() -> dict[str, Tensor]:
    return dict(small_state())


class Trap:
    """Unpickling this runs code: it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["zip", "pickle", "tar", "inside a wrapper"])
def test_a_pickle_never_runs_code(
    form: str, tmp_path: Path, state: dict[str, Tensor], capfd: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "trap.pth"
    if form == "pickle":
        torch.save(Trap(mark), path, _use_new_zipfile_serialization=False)
    elif form == "tar":
        with tarfile.open(path, "w") as archive:
            data = pickle.dumps(Trap(mark))
            member = tarfile.TarInfo("pickle")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    elif form == "zip":
        torch.save({**state, "trap": Trap(mark)}, path)
    else:
        torch.save({"state_dict": dict(state), "args": Trap(mark)}, path)
    assert _run(["import", SMALL, "--weights", str(path), "--out", str(tmp_path / "runs")]) == 3
    assert not mark.exists()
    assert not (tmp_path / "runs").exists()
    err = capfd.readouterr().err
    assert len(err.strip().splitlines()) == 1, err
    assert {"tar": "oldest form"}.get(form, "weights alone") in err
    function, arguments = Trap(mark).__reduce__()
    function(*arguments)
    assert mark.exists(), "the trap works, so the check could fail"


def zipped(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def flip(data: bytes, where: int) -> bytes:
    return data[:where] + bytes([data[where] ^ 4]) + data[where + 1 :]


def recompressed(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def script(state: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/constants.pkl", b"")
        archive.writestr("m/data.pkl", b"")
    return buffer.getvalue()


BAD_BYTES: dict[str, tuple[Callable[[dict[str, Tensor]], bytes], str]] = {
    "empty": (lambda state: b"", "is empty"),
    "a web page": (lambda state: b"<!DOCTYPE html><html>" * 20, "neither a zip archive"),
    "truncated zip": (lambda state: zipped(state)[:-1000], "zip archive"),
    "flipped byte": (lambda state: flip(zipped(state), 10_000_000), "is damaged: the sum"),
    "deflated": (lambda state: recompressed(zipped(state)), "is compressed"),
    "TorchScript": (script, "TorchScript program"),
    "truncated safetensors": (
        lambda state: safetensors.torch.save(state)[:-8],
        "not a sound .safetensors",
    ),
    "safetensors of junk": (lambda state: b"\x02" + bytes(7) + b"{{}}", "not a sound .safetensors"),
}


@pytest.mark.parametrize("name", BAD_BYTES)
def test_damaged_files_are_refused(name: str, tmp_path: Path, state: dict[str, Tensor]) -> None:
    make, words = BAD_BYTES[name]
    path = tmp_path / "weights.pth"
    path.write_bytes(make(state))
    with pytest.raises(BadArtifact, match=words):
        import_weights(SMALL, path, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {key: each for key, each in state.items() if key != name}


def put(name: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: state | {name: tensor}


BAD_TENSORS = {
    "missing": (without("layer1.0.bn1.bias"), r"lacks 'layer1\.0\.bn1\.bias'"),
    "one counter missing": (without("bn1.num_batches_tracked"), "lacks 'bn1.num_batches_tracked'"),
    "no head": (without("fc.weight"), "lacks 'fc.weight'"),
    "extra": (put("zz.weight", torch.zeros(2)), "has an unknown 'zz.weight'"),
    "shape": (put("bn1.bias", torch.zeros(3)), r"'bn1\.bias' as float32 \[3\] instead of \[64\]"),
    "head": (put("fc.bias", torch.zeros(9)), r"'fc\.bias' as float32 \[9\] instead of \[1000\]"),
    "dtype": (put("bn1.bias", torch.zeros(64, dtype=torch.int8)), "int8"),
    "complex": (put("bn1.bias", torch.zeros(64, dtype=torch.complex64)), "complex64"),
    "sparse": (put("bn1.bias", torch.zeros(64).to_sparse()), "another kind"),
    "counter": (put("bn1.num_batches_tracked", torch.zeros(())), "num_batches_tracked' as float32"),
    "nan": (put("bn1.bias", torch.full((64,), torch.nan)), "'bn1.bias' holds 64 non-finite"),
    "infinite": (put("bn1.running_var", torch.full((64,), torch.inf)), "non-finite"),
    "too large": (
        put("bn1.bias", torch.full((64,), 1e300, dtype=torch.float64)),
        "'bn1.bias' holds 64 non-finite",
    ),
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_tensors_that_do_not_fit_are_named(
    name: str, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    change, words = BAD_TENSORS[name]
    path = publish(tmp_path, SMALL, change(dict(state)))
    with pytest.raises(BadArtifact, match=words):
        import_weights(SMALL, path, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_head_may_differ_only_where_classes_ask(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = publish(tmp_path, SMALL, dict(state) | {"fc.bias": torch.zeros(10)})
    with pytest.raises(BadArtifact, match="fc"):
        import_weights(SMALL, path, classes=10, out=tmp_path / "runs")


def test_the_hash_in_the_name_is_compared_before_anything_is_parsed(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = publish(tmp_path, SMALL, dict(state))
    wrong = path.rename(tmp_path / f"{SMALL}-0123456789abcdef.pth")
    right = hashlib.sha256(wrong.read_bytes()).hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", lambda *_args, **_options: pytest.fail("it was parsed"))
        patch.setattr(zipfile, "ZipFile", lambda *_args: pytest.fail("it was parsed"))
        with pytest.raises(BadArtifact, match="promises the sha256 0123456789abcdef"):
            import_weights(SMALL, wrong)
    for name in (
        f"{SMALL}-{right[:12]}.pth",
        f"{SMALL}-{right}.pth",
        "any-name.pth",
        "x-1234567.pt",
    ):
        found = read_weights(wrong.rename(tmp_path / name))
        wrong = tmp_path / name
        assert found.sha256 == right
        assert (found.named_hash is None) == any(right in note for note in found.notes)
    assert found.named_hash is None, "seven digits are no hash"


def test_a_file_that_changes_meanwhile_is_read_once(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = publish(tmp_path, SMALL, dict(state))
    before = os.fstat

    def swap(descriptor: int) -> os.stat_result:
        status = before(descriptor)
        if path.exists():
            path.unlink()
            path.write_bytes(b"another file")
        return status

    monkeypatch.setattr(os, "fstat", swap)
    assert weights_sha256(read_weights(path).tensors) == weights_sha256(state)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases: list[tuple[Path, type[ZooError], str]] = [
        (tmp_path / "missing.pth", UsageError, "no such file"),
        (tmp_path / "a" / "b.pth", UsageError, "no such file"),
        (tmp_path, UsageError, "is not a file|is a folder"),
        (tmp_path / "pipe", BadArtifact, "is not a file"),
        (tmp_path / ("n" * 256), BadArtifact, "too long"),
    ]
    if os.geteuid() != 0:
        (tmp_path / "secret").touch(0)
        cases.append((tmp_path / "secret", Unavailable, "permissions"))
    for path, kind, words in cases:
        with pytest.raises(kind, match=words):
            read_weights(path)


def test_another_networks_file_is_said_to_be_one(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = publish(tmp_path, SMALL, dict(state))
    with pytest.raises(BadArtifact, match=f"not a resnet18 .its name says {SMALL}.: it .* more"):
        import_weights("resnet18", path)
    with pytest.raises(UsageError, match="unknown model 'resnet19'"):
        import_weights("resnet19", path)
