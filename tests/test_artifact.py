"""An artifact that was damaged, or made for something else, is refused before anything loads."""

from __future__ import annotations

import io
import mmap
import os
import random
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest

from compile import machine
from compile.artifact import sealed
from compile.artifact.archive import check_archive
from compile.artifact.manifest import GRAPH, Manifest
from compile.artifact.publishing import file_entries, find_artifacts, publish, staging
from compile.artifact.reading import open_artifact, open_graph
from compile.backends import backend
from compile.backends.base import Built
from compile.errors import BadArtifact, Unavailable
from compile.proof.describing import required_flags
from compile.spec import CompileSpec
from tests.support.forgery import rewrite
from tests.support.networks import SHAPE, small_prepared

Copy = Callable[[str], Path]


def refused_by_runner(runner: Path, folder: Path) -> str:
    """Run zoo-run on a bad artifact; it must end with 3 and one line."""
    done = subprocess.run(
        [runner, folder, "--iterations", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, (done.returncode, done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("kind", ["torchscript", "inductor", "onnx"])
def test_every_flipped_byte_is_found(kind: str, copy_of: Copy) -> None:
    folder = copy_of(kind)
    rng = random.Random(0)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        small = len(content) <= 200
        places = range(len(content)) if small else rng.sample(range(len(content)), 12)
        for place in {*places, 0, len(content) - 1}:
            with path.open("r+b") as stream:
                stream.seek(place)
                stream.write(bytes([content[place] ^ (1 << rng.randrange(8))]))
            with pytest.raises(BadArtifact):
                opened = open_artifact(folder)
                if path.name == GRAPH:  # which is verified where it is read
                    open_graph(opened)
            path.write_bytes(content)
    open_artifact(folder)


@pytest.mark.parametrize("kind", ["torchscript", "inductor", "openvino"])
def test_the_runner_finds_flipped_bytes(kind: str, copy_of: Copy, runner: Path) -> None:
    folder = copy_of(kind)
    rng = random.Random(1)
    for path in sorted(folder.iterdir()):
        if path.name == GRAPH:  # the runner does not read it
            continue
        content = path.read_bytes()
        for place in (0, rng.randrange(len(content)), len(content) - 1):
            damaged = bytearray(content)
            damaged[place] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            refused_by_runner(runner, folder)
        path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["manifest.json", "manifest.sha256", "model.ts", "golden.safetensors"]
)
def test_missing_truncated_and_grown_files(name: str, copy_of: Copy, runner: Path) -> None:
    folder = copy_of("torchscript")
    content = (folder / name).read_bytes()
    for damaged in (None, b"", content[: len(content) // 2], content[:-1], content + b"\n"):
        if damaged is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(damaged)
        with pytest.raises(BadArtifact):
            open_artifact(folder)
        refused_by_runner(runner, folder)


@pytest.mark.parametrize("flag", [None, "avx_vnni"])
def test_a_graph_asks_for_vnni_where_its_products_would_overflow_without(
    flag: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "vnni", lambda: flag)
    built = Built(programs=(), precision="any")
    for precision, needed in (("fp32", []), ("int8", [flag] if flag else [])):
        spec = CompileSpec(shape=SHAPE, precision=precision, target="any")
        assert required_flags(spec, built, small_prepared().task(spec, backend("onnx"))) == needed


def _flags(manifest: Manifest) -> None:
    manifest["requirements"]["isa"] = manifest["target"]["cpuid"] = ["avx2", "avx99_fp4"]


ELSEWHERE: dict[str, tuple[Callable[[Manifest], object], str]] = {
    "torch": (lambda m: m["requirements"].update(torch="2.12.0"), "2.12.0"),
    "isa": (_flags, "avx99_fp4"),
    "schema": (lambda m: m.update(schema="1.2"), "another zoo"),
}
"""Sound manifests of artifacts that were made for something else. What is not sound lies in
tests/data/manifests."""


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_was_made_for_something_else(name: str, copy_of: Copy, runner: Path) -> None:
    folder = copy_of("torchscript")
    change, words = ELSEWHERE[name]
    rewrite(folder, change)
    with pytest.raises(BadArtifact, match=words):
        open_artifact(folder)
    assert words in refused_by_runner(runner, folder)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "model.ts"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "device", "sparse"])
def test_what_is_no_plain_file_is_refused_at_once(
    kind: str, name: str, copy_of: Copy, runner: Path
) -> None:
    """A FIFO would block for ever, /dev/zero and 64 GiB of nothing would fill the memory."""
    folder = copy_of("torchscript")
    path = folder / name
    path.rename(folder / "elsewhere")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 2**36)
    else:
        path.symlink_to("elsewhere" if kind == "link" else "/dev/zero")
    with pytest.raises(BadArtifact, match=name):
        open_artifact(folder)
    refused_by_runner(runner, folder)


@pytest.mark.parametrize("member", ["../../escaped", "/tmp/escaped", "a\\b", "x/../../y", "x//y"])
def test_archive_members_stay_inside(member: str, copy_of: Copy, runner: Path) -> None:
    folder = copy_of("inductor-bf16")
    with zipfile.ZipFile(folder / "model.pt2", "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(member, b"outside")
    rewrite(folder, lambda m: m.update(files=file_entries(folder)))
    with pytest.raises(BadArtifact, match="path"):
        open_artifact(folder)
    refused_by_runner(runner, folder)


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    """The member `b` of the directory lies inside the bytes of `a`."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("b", b"hidden")
    header = inner.getvalue()[: 30 + len("b") + len(b"hidden")]
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("a", header)
        archive.writestr("b", b"hidden")
    check_archive(io.BytesIO(outer.getvalue()), "sound.pt2")
    content = bytearray(outer.getvalue())
    entry = content.rindex(b"PK\x01\x02")  # the directory's entry of b; its offset is at 42
    content[entry + 42 : entry + 46] = (30 + len("a")).to_bytes(4, "little")
    with pytest.raises(BadArtifact, match="overlap"):
        check_archive(io.BytesIO(content), "forged.pt2")


def test_deflated_members_are_refused(copy_of: Copy, runner: Path) -> None:
    folder = copy_of("inductor-bf16")
    with zipfile.ZipFile(folder / "model.pt2", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/bomb", b"\0" * 100_000)
    rewrite(folder, lambda m: m.update(files=file_entries(folder)))
    with pytest.raises(BadArtifact, match="compressed"):
        open_artifact(folder)
    refused_by_runner(runner, folder)


def test_links_are_refused(copy_of: Copy, runner: Path, tmp_path: Path) -> None:
    folder = copy_of("torchscript")
    (folder / "model.ts").rename(tmp_path / "elsewhere.ts")
    (folder / "model.ts").symlink_to(tmp_path / "elsewhere.ts")
    with pytest.raises(BadArtifact, match="link"):
        open_artifact(folder)
    refused_by_runner(runner, folder)


def test_a_sealed_copy_outlives_the_file(copy_of: Copy) -> None:
    folder = copy_of("torchscript")
    opened = open_artifact(folder)
    content = (folder / "model.ts").read_bytes()
    (folder / "model.ts").write_bytes(b"swapped after the check")
    copy = opened.files["model.ts"].path
    assert Path(copy).read_bytes() == content
    with pytest.raises(OSError):
        os.truncate(copy, 0)


def test_sealing_waits_for_a_busy_page_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping that can be written keeps the kernel from sealing, as a page in motion does."""
    copy = os.memfd_create("copy", os.MFD_ALLOW_SEALING)
    os.write(copy, b"content")
    mapping = mmap.mmap(copy, 7)
    monkeypatch.setattr(sealed, "_PAUSES_S", (0.0, 0.0))
    with pytest.raises(Unavailable, match="busy"):
        sealed.freeze(copy, Path("model.ts"))
    monkeypatch.undo()
    Timer(0.05, mapping.close).start()
    sealed.freeze(copy, Path("model.ts"))
    with pytest.raises(PermissionError):
        os.write(copy, b"more")
    os.close(copy)


def test_publishing_exchanges_and_leaves_nothing(tmp_path: Path) -> None:
    final = tmp_path / "model-01234567" / "onnx-fp32-b1-cpu"
    for content in ("old", "new"):
        with staging(final) as folder:
            (folder / "file").write_text(content)
            assert find_artifacts(tmp_path) == ([final] if content == "new" else [])
            publish(folder, final)
    assert (final / "file").read_text() == "new"
    with pytest.raises(RuntimeError), staging(final) as folder:
        (folder / "file").write_text("broken")
        raise RuntimeError
    assert [path.name for path in final.parent.iterdir()] == ["onnx-fp32-b1-cpu"]


def test_a_killed_build_is_swept(tmp_path: Path, later: Callable[[], None]) -> None:
    left = tmp_path / "model-01234567" / ".staging-999999999-abc"
    left.mkdir(parents=True)
    later()
    with staging(tmp_path / "model-01234567" / "onnx-fp32-b1-cpu"):
        assert not left.exists()


def test_a_running_build_is_not_swept(tmp_path: Path, later: Callable[[], None]) -> None:
    with staging(tmp_path / "model-01234567" / "onnx-fp32-b1-cpu") as first:
        later()
        with staging(tmp_path / "model-01234567" / "onnx-fp32-b8-cpu"):
            assert first.exists()


def test_only_artifacts_are_found(tmp_path: Path) -> None:
    """What `zoo clean --all-artifacts` may remove: not two levels of somebody's photos."""
    photos = ("photos/cats", "trip-20260101/summer-cats-best")
    for place in (*photos, "model-01234567/notes", "model-zzzzzzzz/onnx-fp32-b1-cpu"):
        (tmp_path / place).mkdir(parents=True)
    assert find_artifacts(tmp_path) == []


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for final in (tmp_path / "file", tmp_path / "file" / "model" / "leaf"):
        with pytest.raises(Unavailable), staging(final):
            raise AssertionError("never entered")
    assert (tmp_path / "file").read_text() == "mine"
