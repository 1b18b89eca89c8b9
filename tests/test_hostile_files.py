"""What lies where a file should: another kind of thing, values that are not finite, forged proofs.

The runner has the same tests in run_files_test.cpp and proof_test.cpp.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compile.artifact import status
from compile.artifact.manifest import GOLDEN, MANIFEST, MANIFEST_HASH
from compile.artifact.publishing import file_entries
from compile.artifact.reading import Artifact, verify_artifact
from compile.artifact.tensors import write_tensors
from compile.errors import BadArtifact, Unavailable
from compile.loading import load_programs
from tests.support.forgery import rewrite
from tests.support.manifests import put
from tests.support.runner import golden_input, write_artifact
from tests.test_status import pending
from zoo.cli import _run

PROGRAM = {"file": "model.onnx", "batch": [1, 8], "entry": None}


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


KINDS: dict[str, Callable[[Path], object]] = {
    "a socket": make_socket,
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_artifact(tmp_path / "artifact", {"model.onnx": b"x"}, [PROGRAM])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [MANIFEST, MANIFEST_HASH, "model.onnx", GOLDEN])
def test_a_file_of_an_artifact_that_is_none(kind: str, name: str, folder: Path) -> None:
    (folder / name).unlink()
    KINDS[kind](folder / name)
    with pytest.raises(BadArtifact, match=name):
        verify_artifact(folder)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a folder"])
def test_what_is_given_instead_of_a_file(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "x.pth")
    KINDS[kind](Path(path))
    for words in (
        *(["inspect", path], ["recompile", path], ["check", path], ["bisect", path]),
        *(["export", path, "--triton", str(tmp_path / "to")], ["eval", path]),
        ["import", "resnet18", "--weights", path],
    ):
        assert _run(words) == 3, words
        assert len(capfd.readouterr().err.splitlines()) == 1, words


def test_a_name_that_no_file_can_have(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "n" * 256
    for words in (
        *(["inspect", name], ["recompile", name], ["check", name], ["bisect", name]),
        *(["eval", f"{name}/x"], ["import", "resnet18", "--weights", f"{name}.pth"]),
    ):
        assert _run(words) == 3, words
        assert "too long" in capfd.readouterr().err, words
    rewrite(folder, lambda manifest: manifest["files"].update({name: manifest["files"][GOLDEN]}))
    with pytest.raises(BadArtifact, match="too long"):
        verify_artifact(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["inputs/input", "oracle/logits"])
def test_golden_values_are_finite_when_it_is_opened(name: str, value: float, folder: Path) -> None:
    tensors = {"inputs/input": golden_input(), "oracle/logits": torch.zeros(16, 3).double()}
    tensors[name][-1].fill_(value)
    write_tensors(folder / GOLDEN, tensors)
    rewrite(folder, put("files", file_entries(folder)))
    with pytest.raises(BadArtifact, match=f"'{name}' holds NaN or infinity"):
        verify_artifact(folder)


def test_a_library_that_is_missing(folder: Path) -> None:
    rewrite(folder, put("requirements/load_first", ["libnone.so.7"]))
    with pytest.raises(Unavailable, match=r"needs the library libnone\.so\.7: .*No such file"):
        load_programs(verify_artifact(folder))


@pytest.fixture
def unproved(folder: Path) -> Artifact:
    rewrite(folder, pending)
    return verify_artifact(folder)


def proof(artifact: Artifact) -> Path:
    return artifact.path.with_name(f"proof-{artifact.path.name}.json")


FORGED: dict[str, Callable[[Path, bytes], object]] = {
    "another machine": lambda path, good: path.write_bytes(good.replace(b'"cpu:', b'"gpu:')),
    "another case": lambda path, good: path.write_bytes(good.upper()),
    "a key twice": lambda path, good: path.write_bytes(good.replace(b"{", b'{"date": "",', 1)),
    "a number": lambda path, good: path.write_bytes(json.dumps({"machine": 1}).encode()),
    "deep": lambda path, good: path.write_bytes(b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}"),
    "huge digits": lambda path, good: path.write_bytes(b'{"a": ' + b"9" * 9999 + b"}"),
    "sparse": lambda path, good: (path.touch(), os.truncate(path, 2**40)),
    "zero bytes": lambda path, good: path.write_bytes(good + b"\0"),
    "two documents": lambda path, good: path.write_bytes(good + good),
    "not UTF-8": lambda path, good: path.write_bytes(good.replace(b"cpu", b"c\xff")),
    "a link": lambda path, good: (
        path.with_suffix(".txt").write_bytes(good),
        path.symlink_to(path.with_suffix(".txt")),
    ),
    "a link to itself": lambda path, good: path.symlink_to(path),
    **{kind: lambda path, good, make=make: make(path) for kind, make in KINDS.items()},
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_proof_proves_nothing(name: str, unproved: Artifact) -> None:
    status.record_proof(unproved)
    good = proof(unproved).read_bytes()
    proof(unproved).unlink()
    FORGED[name](proof(unproved), good)
    with pytest.raises(BadArtifact, match="has not been proved on this machine"):
        status.require_proved(unproved)


def test_more_keys_in_a_proof_are_ignored(unproved: Artifact) -> None:
    status.record_proof(unproved)
    entry = json.loads(proof(unproved).read_text())
    proof(unproved).write_text(json.dumps({**entry, "by": "a later zoo"}))
    status.require_proved(unproved)


def test_a_precision_that_the_weights_have_not(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from tests.support.tiny_onnx import artifact

    made = verify_artifact(artifact(tmp_path / "artifact", backend="openvino", precision="bf16"))
    with pytest.raises(BadArtifact, match="holds weights in fp32, and the manifest says bf16"):
        load_programs(made)
