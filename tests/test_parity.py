"""The parity gates pass what is right, in every backend, in Python and in zoo-run.

That they catch what is wrong: test_faults.py, test_forged_programs.py, test_gates_needed.py.
"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from compile.artifact.programs import run_rows
from compile.artifact.reading import open_artifact
from compile.backends import backend
from compile.loading import load_artifact
from compile.network.fold import fold_batch_norms
from compile.network.oracle import oracle
from compile.network.prepare import cast
from compile.proof import parity, yardstick
from compile.proof.check import check_artifact
from compile.proof.constants import compare
from compile.proof.images import Labelled
from compile.proof.prepared import PreparedModel
from compile.spec import CompileSpec
from tests.support.networks import KINDS, PYTHON_ONLY, SHAPE, SmallNet, small_net, small_prepared


def test_a_correct_program_passes(net: SmallNet) -> None:
    golden = PreparedModel(net, SHAPE).golden("float32")
    folded = fold_batch_norms(net, golden.input[:1])
    for precision in ("fp32", "bf16"):
        limit = yardstick.measure_bounds(net, precision, golden)
        with torch.no_grad():
            output = cast(folded, precision)(golden.input)
        assert parity.judge(output, golden, limit).passed


class OneByOne(SmallNet):
    """Takes one image at a time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.reshape(1, *SHAPE))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_module_may_insist_on_one_image_at_a_time(precision: str) -> None:
    net = small_net()
    net.__class__ = OneByOne
    limit = yardstick.measure_bounds(net, precision, PreparedModel(net, SHAPE).golden("float32"))
    assert bool((limit.bound > 0).all())


def test_folding_removes_every_batch_norm_and_rounds_once(net: SmallNet) -> None:
    example = torch.randn(1, *SHAPE)
    folded = fold_batch_norms(net, example)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert isinstance(net.bn1, nn.BatchNorm2d), "the module given must stay as it was"
    scale = net.bn1.weight.double() / (net.bn1.running_var.double() + net.bn1.eps).sqrt()
    expected = (net.conv1.weight.double() * scale[:, None, None, None]).float()
    assert torch.equal(folded.get_submodule("conv1").weight, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_constants_read_back_from_the_file(kind: str, built: dict[str, Path]) -> None:
    """The gate reads the saved file: the right weights pass, other weights do not."""
    artifact = open_artifact(built[kind])
    maker = backend(artifact.manifest["backend"])
    program = artifact.programs[0]
    path = artifact.files[program.file].path
    spec = CompileSpec(shape=SHAPE, precision=artifact.manifest["precision"])
    for seed, expected in ((0, True), (1, False)):
        weights = small_prepared(seed).task(spec, maker).weights
        constants = maker.constants(path, program)
        gate = compare(weights, spec.precision, constants).gate
        assert gate["passed"] is expected, gate


@pytest.mark.parametrize("kind", KINDS)
def test_check_passes_and_counts_what_is_right(
    kind: str, copy_of: Callable[[str], Path], runner: Path
) -> None:
    folder = copy_of(kind)
    programs = open_artifact(folder).programs
    images = torch.randn(11, *SHAPE)
    labels = oracle(small_net(), images).argmax(dim=1)
    labels[0] = (labels[0] + 1) % 10
    rows = check_artifact(folder, runner, Labelled(images=images, labels=labels))
    places = 1 if kind in PYTHON_ONLY else 2
    assert len(rows) == places * len(programs)
    assert sum(row.ran_in == "zoo-run" for row in rows) == (places - 1) * len(programs)
    for row in rows:
        assert (row.verdict, row.correct, row.total) == ("PASSED", 10, 11), row
    report = json.loads(folder.with_name(f"parity-{kind}.json").read_text())
    assert len(report["rows"]) == len(rows)
    open_artifact(folder)  # the report lies beside the artifact, which is unchanged


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in PYTHON_ONLY])
def test_the_runner_proves_an_artifact_without_python(
    kind: str, built: dict[str, Path], runner: Path
) -> None:
    done = subprocess.run(
        [runner, built[kind], "--check"], env={"PATH": "/nowhere"}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_python_and_runner_agree(built: dict[str, Path], runner: Path) -> None:
    """The same file, threads and rows give the same outputs in both processes."""
    from compile.runner import run_inputs

    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(3))
    for kind in ("torchscript", "inductor"):
        artifact = open_artifact(built[kind])
        run = load_artifact(artifact)
        ours = run_rows(run, x, artifact.programs[0].batch)
        low = artifact.programs[0].batch[0]
        theirs = run_inputs(runner, built[kind], x, torch.get_num_threads(), batch=low)
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_the_manifest_says_what_was_measured(built: dict[str, Path]) -> None:
    for kind, path in built.items():
        manifest = open_artifact(path).manifest
        entry = manifest["parity"]
        (output,) = entry["outputs"]
        assert manifest["status"] == "proved"
        assert output["top1"]["agreed"] == output["top1"]["decided"] > 0
        assert all(row["rmse"] <= row["bound"] for row in output["bounds"])
        assert all(gate["passed"] for gate in entry["gates"])
        assert manifest["determinism"]["bit_identical"]
        assert set(manifest["nonfinite"]) == {"nan", "inf"}
        assert ("zoo-run" in entry["ran_in"]) == (kind not in PYTHON_ONLY)


def test_copying_a_module_for_the_oracle_leaves_it_alone(net: SmallNet) -> None:
    before = copy.deepcopy(net.state_dict())
    yardstick.measure_bounds(net, "bf16", PreparedModel(net, SHAPE).golden("float32"))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.conv1.weight.dtype == torch.float32
