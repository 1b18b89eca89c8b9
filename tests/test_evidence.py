"""What a manifest says of a choice, what the choice is counted by, and how a loser goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from compile.api import compile_module
from compile.artifact.evidence import write_evidence
from compile.artifact.manifest import read_manifest
from compile.artifact.publishing import withdraw
from compile.artifact.reading import open_artifact
from compile.errors import BadArtifact
from compile.loading import load
from compile.proof.accuracy import reference_classes
from compile.proof.counting import count_loss
from compile.proof.images import Labelled
from compile.runner import call_runner
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, small_net
from zoo.cli.inspect import inspect_lines


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    spec = CompileSpec(shape=SHAPE, batch=(1, 4))
    return compile_module(small_net(), spec, backend="torchscript", root=tmp_path).path


def test_evidence_leaves_the_proof_as_it_is(artifact: Path, runner: Path) -> None:
    before = read_manifest(artifact)
    written = write_evidence(artifact, {"kind": "fastest", "candidates": []})
    assert read_manifest(artifact) == written == {**before, "evidence": written["evidence"]}
    assert open_artifact(artifact).manifest == written
    call_runner(runner, [str(artifact), "--check", "--quiet"])
    assert [*artifact.parent.iterdir()] == [artifact], "no staging is left"


def test_no_evidence_is_written_into_what_is_damaged(artifact: Path) -> None:
    program = artifact / "model.ts"
    program.write_bytes(program.read_bytes()[:-1] + b"?")
    with pytest.raises(BadArtifact, match=r"model\.ts does not match its sha256"):
        write_evidence(artifact, {})
    assert read_manifest(artifact)["evidence"] is None


def test_evidence_of_another_kind_is_not_shown(artifact: Path) -> None:
    for other in ({}, {"kind": "oracle bone"}, {"kind": "fastest", "candidates": 3, "goal": []}):
        lines = inspect_lines(artifact, write_evidence(artifact, other), None)
        assert not any(str(line).startswith("chosen ") for line in lines)


def test_an_artifact_is_withdrawn_whole(artifact: Path) -> None:
    other = Path(shutil.copytree(artifact, artifact.with_name("other")))
    withdraw(artifact)
    assert [*artifact.parent.iterdir()] == [other]


def test_the_loss_is_counted_beside_the_network_in_float64(artifact: Path) -> None:
    net, images = small_net(), torch.randn(10, *SHAPE, generator=torch.Generator().manual_seed(1))
    classes = load(artifact)(torch.cat([images, images[:2]])[:4]).argmax(dim=1)
    reference = reference_classes(net, images)
    assert reference[:4].tolist() == classes.tolist()
    labels = reference.clone()
    labels[0] = (labels[0] + 1) % 10  # which both have wrong
    counted = count_loss(artifact, Labelled(images=images, labels=labels, reference=reference))
    assert counted is not None
    assert (counted["before"], counted["after"], counted["images"]) == (90.0, 90.0, 10)
    other = (reference + 1) % 10  # a network of other classes, right about the first image alone
    counted = count_loss(artifact, Labelled(images=images, labels=labels, reference=other))
    assert counted is not None and (counted["before"], counted["after"]) == (10.0, 90.0)
    assert (counted["lost"], counted["won"]) == (1, 9)
    assert count_loss(artifact, Labelled(images=images, labels=labels)) is None
