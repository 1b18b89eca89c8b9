"""What failed its proof, or has none yet, runs only where somebody says so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compile.api import PreparedModel, compile_module, load
from compile.artifact import status
from compile.artifact.manifest import Manifest
from compile.artifact.reading import open_artifact
from compile.errors import BadArtifact, CheckFailed
from compile.proof import constants
from compile.proof.check import check_artifact
from compile.proof.constants import Compared
from compile.spec import CompileSpec
from tests.support.faults import tampered
from tests.support.forgery import rewrite
from tests.support.networks import SHAPE, small_net

SPEC = CompileSpec(shape=SHAPE)
X = torch.zeros(1, *SHAPE)


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("proved")
    return compile_module(small_net(), SPEC, backend="torchscript", root=root).path


def pending(manifest: Manifest) -> None:
    """As a builder without the target leaves it."""
    (output,) = manifest["parity"]["outputs"]
    for row in output["bounds"]:
        row["rmse"] = None
    output["top1"] = {"decided": 0, "agreed": 0}
    manifest["parity"]["ran_in"] = []
    manifest["status"] = "pending"


@pytest.fixture
def unproved(proved: Path, tmp_path: Path) -> Path:
    import shutil

    folder = Path(shutil.copytree(proved, tmp_path / proved.name))
    rewrite(folder, pending)
    return folder


def wrong() -> PreparedModel:
    """A network of which the backend is given another, whose outputs are wrong."""
    return tampered("shortcut without its ReLU")


def test_what_fails_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="parity failed"):
        compile_module(wrong(), SPEC, backend="torchscript", root=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_failed_is_published_where_that_is_accepted(tmp_path: Path) -> None:
    result = compile_module(wrong(), SPEC, backend="torchscript", root=tmp_path, accept_error=True)
    assert result.manifest["status"] == "accepted"
    assert open_artifact(result.path).manifest == result.manifest
    with pytest.raises(BadArtifact, match="accept_error=True"):
        load(result.path)
    assert load(result.path, accept_error=True)(X).shape == (1, 10)
    rows = check_artifact(result.path, None)
    assert [(row.status, row.verdict) for row in rows] == [("accepted", "FAILED")]


def test_an_accepted_artifact_is_no_answer_to_who_wants_a_proved_one(tmp_path: Path) -> None:
    def build(accept_error: bool) -> bool:
        return compile_module(
            wrong(), SPEC, backend="torchscript", root=tmp_path, accept_error=accept_error
        ).built

    assert build(True)
    assert not build(True)
    with pytest.raises(CheckFailed):
        build(False)


def test_only_a_gate_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outputs are right, so that nothing but the status tells `zoo check`."""
    failed = {"name": "constants", "value": 2.0, "bound": 1.0, "passed": False}
    compared = Compared(gate=failed, skipped=())
    monkeypatch.setattr(constants, "compare", lambda *_: compared)
    result = compile_module(
        small_net(), SPEC, backend="torchscript", root=tmp_path, accept_error=True
    )
    (row,) = check_artifact(result.path, None)
    assert (row.status, row.verdict) == ("accepted", "FAILED") and row.ratio <= 1


class Undecided(nn.Module):
    """Gives all classes the same output, so that no sample is clear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(SHAPE[0], 1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3)).expand(-1, 10).clone()


def test_no_sample_was_clear(tmp_path: Path) -> None:
    result = compile_module(
        Undecided(), SPEC, backend="torchscript", root=tmp_path, accept_error=True
    )
    failed = [gate for gate in result.manifest["parity"]["gates"] if not gate["passed"]]
    assert [gate["name"] for gate in failed] == ["a clear sample"]


def test_what_was_never_proved_waits_for_its_check(unproved: Path) -> None:
    with pytest.raises(BadArtifact, match=f"zoo-run {unproved} --check"):
        load(unproved)
    (row,) = check_artifact(unproved, None)
    assert (row.status, row.verdict) == ("pending", "PASSED")
    assert load(unproved)(X).shape == (1, 10)
    proof = json.loads(unproved.with_name(f"proof-{unproved.name}.json").read_text())
    assert set(proof) == {"manifest_sha256", "machine", "date"}


def _other(key: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda entry: json.dumps({**entry, key: "another"}).encode()


USELESS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "of another manifest": _other("manifest_sha256"),
    "of another machine": _other("machine"),
    "empty": lambda entry: b"",
    "a list": lambda entry: json.dumps([entry]).encode(),
    "not JSON": lambda entry: b"{",
    "larger than 64 KiB": lambda entry: json.dumps({**entry, "x": "x" * 2**16}).encode(),
}


@pytest.mark.parametrize("name", USELESS)
def test_a_useless_proof_counts_as_none(name: str, unproved: Path) -> None:
    status.record_proof(open_artifact(unproved))
    proof = unproved.with_name(f"proof-{unproved.name}.json")
    load(unproved)
    proof.write_bytes(USELESS[name](json.loads(proof.read_text())))
    with pytest.raises(BadArtifact, match="has not been proved"):
        load(unproved)


def test_a_proof_that_is_a_fifo_counts_as_none(unproved: Path) -> None:
    os.mkfifo(unproved.with_name(f"proof-{unproved.name}.json"))
    with pytest.raises(BadArtifact, match="has not been proved"):
        load(unproved)
