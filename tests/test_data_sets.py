"""Data sets by one word: CIFAR from files and over a network that lies, synthetic images."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.data import cifar, load, spec_of
from zoo.errors import BadArtifact, Unavailable, UsageError

RECORDS = 20
NAMES = tuple(cifar.FORMS)
REAL = dict(cifar.FORMS)


def small_form(name: str) -> cifar.Form:
    """The form of a set whose files hold 20 images each."""
    form = REAL[name]
    size = RECORDS * (form.labels + 3072)
    files = {file: None if old is None else size for file, old in form.archive.files.items()}
    return dataclasses.replace(form, archive=dataclasses.replace(form.archive, files=files))


def make_files(name: str) -> dict[str, bytes]:
    """Every file of a small set. The first pixel of each image says which it is."""
    form = small_form(name)
    files = {}
    for number, (file, size) in enumerate(form.archive.files.items()):
        if size is None:
            lines = "\n".join(f"class{label}" for label in range(form.classes)) + "\n\n"
            files[file] = lines.encode()
            continue
        records = np.full((RECORDS, size // RECORDS), number, np.uint8)
        records[:, 0] = 99 if form.labels == 2 else records[:, 0]  # the coarse label is ignored
        records[:, form.labels - 1] = np.arange(RECORDS) % form.classes
        records[:, form.labels] = np.arange(RECORDS)
        files[file] = records.tobytes()
    return files


def pack(files: dict[str, bytes], folder: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name if "/" in name else f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


Serve = Callable[[str, bytes], str]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Make an archive's bytes what the set's address gives, and expected; returns its sha256."""
    monkeypatch.chdir(tmp_path)

    def serve(name: str, content: bytes, url: str | None = None) -> str:
        (tmp_path / "served.tar.gz").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        form = small_form(name)
        archive = dataclasses.replace(
            form.archive,
            url=url or (tmp_path / "served.tar.gz").as_uri(),
            size=len(content),
            sha256=digest,
        )
        monkeypatch.setitem(cifar.FORMS, name, dataclasses.replace(form, archive=archive))
        return digest

    return serve


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A folder with the unpacked files of a set."""

    def unpack(name: str) -> Path:
        monkeypatch.setitem(cifar.FORMS, name, small_form(name))
        inner = tmp_path / "given" / REAL[name].archive.folder
        inner.mkdir(parents=True)
        for file, content in make_files(name).items():
            (inner / file).write_bytes(content)
        return inner

    return unpack


def test_the_published_files_have_known_sizes() -> None:
    sizes = {file: size for form in REAL.values() for file, size in form.archive.files.items()}
    assert sizes["data_batch_3.bin"] == sizes["test_batch.bin"] == 30_730_000
    assert (sizes["train.bin"], sizes["test.bin"]) == (153_700_000, 30_740_000)
    assert all(len(form.archive.sha256) == 64 for form in REAL.values())


@pytest.mark.parametrize("name", NAMES)
def test_cifar_is_read_from_a_folder(name: str, folder: Callable[[str], Path]) -> None:
    inner = folder(name)
    data = load(f"{name}:{inner.parent}")
    count = RECORDS * len(REAL[name].train)
    assert (len(data.train), len(data.test)) == (count, RECORDS)
    assert data.shape == (3, 32, 32)
    assert data.classes == tuple(f"class{label}" for label in range(REAL[name].classes))
    assert data.test.labels.tolist() == [i % REAL[name].classes for i in range(RECORDS)]
    images = data.test.tensors()[0] * torch.tensor(data.preprocessing["std"]).view(3, 1, 1)
    images = (images + torch.tensor(data.preprocessing["mean"]).view(3, 1, 1)) * 255
    torch.testing.assert_close(images[:, 0, 0, 0], torch.arange(20.0), rtol=0, atol=1e-3)
    assert (data.name, data.path) == (name, str(inner))
    again = load(spec_of(data.record), preprocessing=data.preprocessing)
    assert torch.equal(again.test.tensors()[0], data.test.tensors()[0])


@pytest.mark.parametrize("name", NAMES)
def test_cifar_is_fetched_once(name: str, serve: Serve, tmp_path: Path) -> None:
    serve(name, pack(make_files(name), REAL[name].archive.folder))
    data = load(name)
    assert data.path == str(tmp_path / "data" / REAL[name].archive.folder)
    (tmp_path / "served.tar.gz").unlink()
    assert torch.equal(load(name).train.labels, data.train.labels)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [REAL[name].archive.folder]


def test_cifar_comes_over_http(serve: Serve, tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    content = pack(make_files("cifar10"), "cifar-10-batches-bin")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"
        try:
            serve("cifar10", content, f"{base}/absent.tar.gz")
            with pytest.raises(Unavailable, match=r"absent.*not found.*--data cifar10:FOLDER"):
                load("cifar10")
            serve("cifar10", content, f"{base}/served.tar.gz")
            assert len(load("cifar10").test) == RECORDS
        finally:
            server.shutdown()
            thread.join()


def test_nothing_is_unpacked_from_another_archive(serve: Serve, tmp_path: Path) -> None:
    content = pack(make_files("cifar10"), "cifar-10-batches-bin")
    for other in (content[:-1], content + b"x", b"", content[:50] + b"?" + content[51:]):
        right = serve("cifar10", content)
        (tmp_path / "served.tar.gz").write_bytes(other)
        with pytest.raises(BadArtifact, match=rf"{right}.*nothing was unpacked"):
            load("cifar10")
        assert list((tmp_path / "data").iterdir()) == []


def test_without_a_network_the_way_out_is_named(serve: Serve, tmp_path: Path) -> None:
    serve("cifar100", b"", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(Unavailable, match=r"cannot fetch http.*--data cifar100:FOLDER"):
        load("cifar100")
    assert list((tmp_path / "data").iterdir()) == []


def test_only_expected_files_are_unpacked(serve: Serve, tmp_path: Path) -> None:
    hostile = {"../evil": b"1", "/tmp/evil-zoo": b"2", "cifar-10-batches-bin/../evil": b"3"}
    hostile |= {"cifar-10-batches-bin/readme.html": b"4", "other/test_batch.bin": b"5"}
    serve("cifar10", pack(hostile | make_files("cifar10"), "cifar-10-batches-bin"))
    load("cifar10")
    made = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {*make_files("cifar10"), "served.tar.gz"}
    assert not Path("/tmp/evil-zoo").exists()


@pytest.mark.parametrize("fault", ["absent", "long", "link", "not an archive"])
def test_an_archive_without_a_file_is_refused(fault: str, serve: Serve, tmp_path: Path) -> None:
    files = make_files("cifar10")
    old = files.pop("test_batch.bin")
    if fault == "long":
        files["test_batch.bin"] = old + b"x"
    content = pack(files, "cifar-10-batches-bin")
    if fault == "link":
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            for name in small_form("cifar10").archive.files:
                link = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(link)
        content = stream.getvalue()
    serve("cifar10", b"not gzip" if fault == "not an archive" else content)
    with pytest.raises(BadArtifact, match=r"test_batch\.bin|is not an archive"):
        load("cifar10")
    assert list((tmp_path / "data").iterdir()) == []


def test_what_a_killed_download_left_is_swept(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compile.files._YOUNG_S", 0.0)
    left = tmp_path / "data" / ".cifar-10-batches-bin.abc.partial"
    left.mkdir(parents=True)
    serve("cifar10", pack(make_files("cifar10"), "cifar-10-batches-bin"))
    load("cifar10")
    assert not left.exists()


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_named(name: str, folder: Callable[[str], Path]) -> None:
    inner = folder(name)
    form = small_form(name)
    file = inner / form.train[-1]
    good = file.read_bytes()
    position = 7 * (form.labels + 3072) + form.labels - 1
    wrong_label = good[:position] + bytes([form.classes]) + good[position + 1 :]
    for content, words in (
        (good[:-1], f"has {len(good) - 1} bytes, not {len(good)}"),
        (good[: -form.labels - 3072], "bytes, not"),
        (b"", "has 0 bytes"),
        (wrong_label, f"image 7 has label {form.classes}, at most {form.classes - 1}"),
    ):
        file.write_bytes(content)
        with pytest.raises(BadArtifact, match=rf"{file.name}.*{words}"):
            load(f"{name}:{inner}")
    file.write_bytes(good)
    names = inner / form.names
    names.write_text(names.read_text() + "one_more\n")
    with pytest.raises(BadArtifact, match=f"{names.name}: {form.classes + 1} class names"):
        load(f"{name}:{inner}")
    file.unlink()
    names.write_bytes(make_files(name)[form.names])
    with pytest.raises(BadArtifact, match=f"{file.name}: cannot be read"):
        load(f"{name}:{inner}")
    with pytest.raises(UsageError, match="no such folder; it must hold"):
        load(f"{name}:{inner}/absent")


def test_synthetic_images_are_as_asked_and_seeded() -> None:
    data = load("synthetic:7:50", size=20, channels=1, seed=3)
    assert (data.shape, len(data.classes), len(data.train)) == ((1, 20, 20), 7, 50)
    assert data.train.labels.bincount().tolist() == [8, 7, 7, 7, 7, 7, 7]
    images = data.train.tensors()[0]
    assert abs(images.mean()) < 1e-3
    assert images.std() == pytest.approx(1, abs=1e-3)
    again, other = (load("synthetic:7:50", size=20, channels=1, seed=s) for s in (3, 4))
    assert torch.equal(again.train.tensors()[0], images)
    assert not torch.equal(other.train.tensors()[0], images)
    assert not torch.equal(images[:12], data.test.tensors()[0]), "other noise"
    back = load(spec_of(data.record), seed=3, preprocessing=data.preprocessing)
    assert torch.equal(back.test.tensors()[0], data.test.tensors()[0])


def test_synthetic_images_can_be_told_apart() -> None:
    data = load("synthetic:10:200", size=16)
    images, labels = data.train.tensors()
    means = torch.stack([images[labels == label].mean(0) for label in range(10)])
    test, truth = data.test.tensors()
    assert (torch.cdist(test.flatten(1), means.flatten(1)).argmin(1) == truth).all()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("synthetic:1", "classes 1 is out of range; use 2 to"),
        ("synthetic:10:3", "images 3 is out of range"),
        ("synthetic:ten", "synthetic:CLASSES:IMAGES"),
        ("synthetic:1:2:3", "synthetic:CLASSES:IMAGES"),
        ("cifar11", "no such folder.*digits, cifar10, cifar100, synthetic"),
        ("digits:x", "no such folder"),
    ],
)
def test_a_word_that_means_nothing_is_refused(spec: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load(spec)


def test_another_shape_than_a_run_was_made_for_is_refused() -> None:
    wrong = {**load("digits").preprocessing, "height": 9}
    with pytest.raises(BadArtifact, match=r"digits has images of 1x8x8.*for 1x9x8"):
        load("digits", preprocessing=wrong)
