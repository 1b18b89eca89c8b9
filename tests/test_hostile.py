"""Hostile samples: what they are, which faults only they show, what they must not decide."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from compile.api import compile_module
from compile.artifact.manifest import GOLDEN
from compile.artifact.publishing import file_entries
from compile.artifact.reading import open_artifact
from compile.backends import backend
from compile.errors import BadArtifact
from compile.proof import determinism, parity, yardstick
from compile.proof.check import check_artifact
from compile.proof.hostile import hostile_bytes, hostile_samples
from compile.proof.prepared import PreparedModel
from compile.spec import ROWS, CompileSpec
from tests.support.forgery import rewrite
from tests.support.networks import KINDS, PYTHON_ONLY, SHAPE, SmallNet, small_net

HOSTILE = ("zeros", "constant", "checkerboard", "hot pixel", "large", "small", "denormal")


class NoBias(nn.Module):
    """A network that gives exactly 0 for zeros, and next to nothing for subnormal numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(SHAPE[0], 8, 3, padding=1, bias=False)
        self.fc = nn.Linear(8, 10, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))


def no_bias() -> NoBias:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NoBias().eval()


@torch.no_grad()
def judged(net: nn.Module, program: Callable[[torch.Tensor], torch.Tensor]) -> parity.Verdict:
    golden = PreparedModel(net, SHAPE).golden("float32")
    limit = yardstick.measure_bounds(net, "fp32", golden)
    return parity.judge(program(golden.input), golden, limit)


def test_hostile_samples_are_what_they_are_called() -> None:
    x, kinds = hostile_samples(SHAPE)
    assert kinds == HOSTILE and len(x) == len(HOSTILE) and x.dtype == torch.float32
    assert bool(torch.isfinite(x).all())
    by_kind = dict(zip(kinds, x, strict=True))
    smallest_normal = torch.finfo(torch.float32).tiny
    assert bool((by_kind["denormal"].abs() < smallest_normal).all())
    assert int((by_kind["denormal"] != 0).sum()) > 100
    assert int((by_kind["hot pixel"] != 0).sum()) == SHAPE[0]
    assert by_kind["zeros"].unique().tolist() == [0]
    assert by_kind["checkerboard"].unique().tolist() == [-2, 2]
    bytes_, kinds = hostile_bytes(SHAPE)
    assert bytes_.shape == (len(kinds), *SHAPE[1:], SHAPE[0]) and bytes_.dtype == torch.uint8
    assert [bytes_[kinds.index("largest")].min(), bytes_.max(), bytes_.min()] == [255, 255, 0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_hostile_samples_loosen_no_other(net: SmallNet, precision: str) -> None:
    golden = PreparedModel(net, SHAPE).golden("float32")
    all_, ordinary = (
        yardstick.measure_bounds(net, precision, each) for each in (golden, golden.ordinary)
    )
    torch.testing.assert_close(all_.bound[:ROWS], ordinary.bound)
    typical = golden.layout.rms(golden.oracle)
    relative = all_.e_eager / typical
    assert bool((relative[ROWS:] >= relative[0] * 0.999).all())


def test_what_pytorch_itself_gets_wrong_on_a_hostile_sample_is_no_fault() -> None:
    """Adding to a large number what is lost in it: PyTorch is a thousand times as wrong there."""

    class Cancels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.net(x)
            largest = x.amax((1, 2, 3))[:, None]
            return y * (largest + 0.3 - largest)

    net = Cancels().eval()
    golden = PreparedModel(net, SHAPE).golden("float32")
    limit = yardstick.measure_bounds(net, "fp32", golden)
    relative = limit.e_eager / golden.layout.rms(golden.oracle)
    assert float(relative[golden.kinds.index("large")]) > 100 * float(relative[0])
    assert judged(net, net).passed


def _clamped(x: torch.Tensor) -> torch.Tensor:
    return small_net()(x.clamp(-50, 50))


def _by_the_largest(x: torch.Tensor) -> torch.Tensor:
    """Scales each sample by its largest pixel and back, which takes 0 apart."""
    largest = x.abs().amax((1, 2, 3), keepdim=True)
    return small_net()(x / largest * largest)


def _in_half(x: torch.Tensor) -> torch.Tensor:
    """Keeps the pixels in float16 where that loses nothing that ordinary samples have."""
    return small_net()(torch.where(x.abs() < 1e4, x, x.half().float()))


@pytest.mark.parametrize(
    ("program", "kind"),
    [(_clamped, "hot pixel"), (_by_the_largest, "zeros"), (_in_half, "large")],
)
def test_a_fault_that_only_a_hostile_sample_shows(
    program: Callable[[torch.Tensor], torch.Tensor], kind: str
) -> None:
    golden = PreparedModel(small_net(), SHAPE).golden("float32")
    limit = yardstick.measure_bounds(small_net(), "fp32", golden)
    with torch.no_grad():
        output = program(golden.input)
    ordinary = torch.arange(len(output)) < ROWS
    unseen = parity.judge(output[:ROWS], golden.ordinary, limit.take(ordinary))
    assert unseen.passed, unseen.reasons
    verdict = parity.judge(output, golden, limit)
    assert not verdict.passed
    assert not verdict.kinds[kind]["ratio"] <= 1
    assert verdict.kinds["normal"]["ratio"] <= 1


def test_a_network_without_biases_answers_zeros_with_nothing() -> None:
    net = no_bias()
    golden = PreparedModel(net, SHAPE).golden("float32")
    zeros = golden.kinds.index("zeros")
    assert float(yardstick.measure_bounds(net, "fp32", golden).bound[zeros]) == 0
    assert judged(net, net).passed
    wrong = judged(net, lambda x: net(x) + 1e-30)
    assert [kind for kind, found in wrong.kinds.items() if not found["ratio"] <= 1] == [
        *("zeros", "denormal")
    ]


def test_a_network_without_biases_is_proved_everywhere(runner: Path, tmp_path: Path) -> None:
    spec = CompileSpec(shape=SHAPE)
    made = compile_module(no_bias(), spec, backend="torchscript", root=tmp_path, runner=runner)
    kinds = [sample["kind"] for sample in made.manifest["parity"]["samples"]]
    zeros = made.manifest["parity"]["outputs"][0]["bounds"][kinds.index("zeros")]
    assert (zeros["rmse"], zeros["bound"]) == (0, 0)
    assert made.manifest["parity"]["ran_in"] == ["python", "zoo-run"]
    for row in check_artifact(made.path, runner):
        assert row.verdict == "PASSED", row
    done = subprocess.run([runner, made.path, "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_subnormal_numbers_may_be_taken_for_zero_and_for_nothing_else() -> None:
    net = no_bias()
    tiny = torch.finfo(torch.float32).tiny
    assert judged(net, lambda x: net(torch.where(x.abs() < tiny, 0.0, x))).passed
    wrong = judged(net, lambda x: net(torch.where(x.abs() < tiny, 3 * x, x)))
    assert wrong.worst == "denormal" and not wrong.passed


def test_what_overflows_in_pytorch_itself_is_left_out() -> None:
    net = small_net()
    with torch.no_grad():
        net.conv1.weight.mul_(30)
    task = PreparedModel(net, SHAPE).task(
        CompileSpec(shape=SHAPE, precision="fp16"), backend("eager")
    )
    reason = "PyTorch itself overflows on it in fp16"
    assert task.golden.left_out == ({"kind": "large", "reason": reason},)
    assert "large" not in task.golden.kinds
    assert len(task.golden.kinds) == len(task.bounds.bound) == ROWS + len(HOSTILE) - 1
    assert bool(torch.isfinite(task.bounds.bound).all())


class OfTheLargest(nn.Module):
    """Undefined for an image of nothing, and it breaks there if it is told to."""

    def __init__(self, *, breaks: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(SHAPE[0], 10)
        self.breaks = breaks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x / x.amax(dim=(1, 2, 3), keepdim=True)
        if self.breaks:
            y = y + 0 * torch.linalg.eigvalsh(y).sum()
        return self.fc(y.mean((2, 3)))


@pytest.mark.parametrize("breaks", [False, True])
def test_what_the_module_itself_has_no_answer_to_is_left_out(breaks: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        prepared = PreparedModel(OfTheLargest(breaks=breaks), SHAPE)
    spec = CompileSpec(shape=SHAPE)
    task = prepared.task(spec, backend("eager"))
    reason = "the module itself gives no finite output for it"
    assert task.golden.left_out == ({"kind": "zeros", "reason": reason},)
    assert "denormal" in task.golden.kinds


def test_a_large_sample_drowns_no_figure(net: SmallNet) -> None:
    """SQNR and max abs are those of the ordinary samples, else that of 1e4 would decide both."""
    golden = PreparedModel(net, SHAPE).golden("float32")
    limit = yardstick.measure_bounds(net, "fp32", golden)
    output = golden.oracle.clone()
    output[golden.kinds.index("large"), 0] += 1.0
    assert parity.judge(output, golden, limit).max_abs == 0
    output[3, 0] += 1e-3
    assert parity.judge(output, golden, limit).max_abs == pytest.approx(1e-3)


def test_a_hostile_sample_alone_decides_no_class(net: SmallNet) -> None:
    golden = PreparedModel(net, SHAPE).golden("float32")
    limit = yardstick.measure_bounds(net, "fp32", golden)
    wide = replace(limit, e_eager=limit.e_eager.index_fill(0, torch.arange(ROWS), 1e9))
    verdict = parity.judge(golden.oracle, golden, wide)
    assert verdict.decided > 0
    assert "clear enough" in " ".join(verdict.reasons)


@pytest.mark.parametrize("kind", KINDS)
def test_every_artifact_was_tried_on_all_of_them(kind: str, built: dict[str, Path]) -> None:
    manifest = open_artifact(built[kind]).manifest
    samples = manifest["parity"]["samples"]
    assert tuple(sample["kind"] for sample in samples[ROWS:]) == HOSTILE
    assert manifest["parity"]["skipped_samples"] == []
    repeats = manifest["determinism"]
    assert repeats["bit_identical"] and repeats["calls"] >= determinism.FEWEST
    assert repeats["loads"] == 3
    served = kind not in PYTHON_ONLY
    assert (repeats["runners"], repeats["runners_identical"]) == (
        (2, True) if served else (0, None)
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in PYTHON_ONLY])
def test_the_runner_names_the_hostile_samples(
    kind: str, built: dict[str, Path], runner: Path
) -> None:
    done = subprocess.run(
        [runner, built[kind], "--check"],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{ROWS + len(HOSTILE)} of {ROWS + len(HOSTILE)} rows pass" in done.stdout
    assert all(name in done.stdout for name in HOSTILE)


def test_an_artifact_of_sixteen_samples_is_read(
    copy_of: Callable[[str], Path], runner: Path
) -> None:
    """The hostile samples may all be left out."""
    folder = copy_of("torchscript")
    golden = load_file(folder / GOLDEN)
    save_file({name: x[:ROWS].clone() for name, x in golden.items()}, folder / GOLDEN)

    def without_the_hostile(manifest: dict) -> None:  # type: ignore[type-arg]
        manifest["files"] = file_entries(folder)
        _keep_rows(manifest["parity"], ROWS)

    rewrite(folder, without_the_hostile)
    rows = check_artifact(folder, runner)
    assert [(row.verdict, row.samples) for row in rows] == [("PASSED", ROWS)] * 2


def _keep_rows(entry: dict, count: int) -> None:  # type: ignore[type-arg]
    """Take the samples after the first `count` out of a manifest's `parity`."""
    (output,) = entry["outputs"]
    del entry["samples"][count:], output["bounds"][count:]
    output["top1"] = {"decided": ROWS, "agreed": ROWS}


def test_samples_without_their_rows_are_refused(
    copy_of: Callable[[str], Path], runner: Path
) -> None:
    folder = copy_of("torchscript")

    rows = len(open_artifact(folder).manifest["parity"]["samples"])
    rewrite(folder, lambda manifest: _keep_rows(manifest["parity"], rows - 1))
    with pytest.raises(BadArtifact, match="the manifest wants"):
        check_artifact(folder, runner)
    done = subprocess.run([runner, folder, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "the manifest wants" in done.stderr
