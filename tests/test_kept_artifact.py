"""The artifact that is kept in tests/data: every later reader must open it, and find it right."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from compile.artifact.reading import verify_artifact
from compile.proof.check import check_artifact
from compile.proof.golden import proof_of
from compile.runner import find_runner
from tests.support.make_kept import KEPT
from tests.support.networks import small_net
from tests.support.runner import run


def test_it_is_sound() -> None:
    artifact = verify_artifact(KEPT)
    assert artifact.manifest["schema"] == "2.0"
    golden, bounds = proof_of(artifact)
    assert golden.layout.names == ("logits", "map")
    assert [output.scores for output in golden.layout.outputs] == [True, False]
    assert bounds.bound.shape == (len(golden.input), 2 + 2 * 32)


def test_its_answers_are_those_of_the_network() -> None:
    golden, _ = proof_of(verify_artifact(KEPT))
    with torch.no_grad():
        scores = small_net().double()(golden.input.double())
    torch.testing.assert_close(golden.oracle[:, :10], scores, rtol=1e-9, atol=1e-12)


def test_python_and_the_runner_prove_it(tmp_path: Path) -> None:
    if find_spec("openvino") is None:
        pytest.skip("needs openvino: pip install openvino")
    copy = tmp_path / "kept"  # the report goes beside it
    shutil.copytree(KEPT, copy)
    rows = check_artifact(copy, find_runner())
    assert rows and all(row.verdict == "PASSED" for row in rows), [row.reasons for row in rows]


def test_the_runner_reads_what_it_proved() -> None:
    runner = find_runner()
    if runner is None:
        pytest.skip("needs zoo-run: ./setup runner")
    code, out, error = run(runner, KEPT, "--check", "--json", "-")
    assert code == 0, error
    assert [output["name"] for output in json.loads(out)["check"]["outputs"]] == ["logits", "map"]
