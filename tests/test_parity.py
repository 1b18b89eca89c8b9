"""The parity gates pass what is right and catch what is wrong; every gate is seen to fail."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import KINDS, PYTHON_ONLY, SHAPE, SmallNet, rewrite, small_net, small_subject
from torch import nn

from compile import gates, parity
from compile import subject as subjects
from compile.api import compile_module
from compile.artifact import file_entries, open_artifact
from compile.backends import backend
from compile.check import check_artifact
from compile.errors import CheckFailed
from compile.loading import load_artifact
from compile.prepare import cast, fold_batch_norms
from compile.spec import CompileSpec
from compile.subject import Labelled


@torch.no_grad()
def _swap_norms(net: Any) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        first, second = getattr(net.bn1, name), getattr(net.bn2, name)
        kept = first.clone()
        first.copy_(second)
        second.copy_(kept)


@torch.no_grad()
def _round_weights(net: Any) -> None:
    """Keep 10 bits behind the leading one, as a TF32 convolution does."""
    weight = net.conv2.weight
    step = 2.0 ** (weight.abs().clamp_min(1e-30).log2().floor() - 10)
    weight.copy_((weight / step).round() * step)


@torch.no_grad()
def _swap_channels(net: Any) -> None:
    net.conv1.weight.copy_(net.conv1.weight.flip(1))


def _set(path: str, value: object) -> Callable[[Any], None]:
    def change(net: Any) -> None:
        holder, _, name = path.rpartition(".")
        setattr(net.get_submodule(holder), name, value)

    return change


FAULTS: dict[str, Callable[[Any], None]] = {
    "two batch norms swapped": _swap_norms,
    "epsilon changed": _set("bn2.eps", 1e-3),
    "bias dropped": _set("conv3.bias", None),
    "stride moved": _set("conv3.stride", (1, 1)),
    "weights rounded to 10 bits": _round_weights,
    "channels swapped": _swap_channels,
    "padding mode": _set("conv2.padding_mode", "circular"),
    "shortcut without its ReLU": lambda net: setattr(net, "relu2", nn.Identity()),
    "stale weights": lambda net: net.load_state_dict(small_net(seed=1).state_dict()),
    "a batch norm in training mode": lambda net: None,  # set after the cast, which ends it
}


def faulty(name: str) -> SmallNet:
    net = small_net()
    if name == "padding mode":
        net.conv2._reversed_padding_repeated_twice = [1, 1, 1, 1]
    FAULTS[name](net)
    return net


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gates_catch_planted_faults(fault: str, precision: str, net: SmallNet) -> None:
    """A program that computes something else fails at least one gate, at either precision."""
    golden = parity.make_golden(net, SHAPE, None)
    limit = parity.bounds(net, precision, golden)
    wrong = faulty(fault)
    program = cast(wrong, precision)
    if fault == "a batch norm in training mode":
        program.train()
    with torch.no_grad():
        output = program(golden.input)
    verdict = parity.judge(output, golden, limit)
    found = [
        gates.before_cast(wrong, golden, parity.bounds(net, "fp32", golden)),
        gates.constants(gates.weights_of(net), precision, [p.detach() for p in wrong.parameters()]),
    ]
    if precision == "fp32":
        assert not verdict.passed, f"ratio {verdict.ratio:.2f}"
    with pytest.raises(CheckFailed):
        gates.require(found, {"python": verdict})


def test_a_correct_program_passes(net: SmallNet) -> None:
    golden = parity.make_golden(net, SHAPE, None)
    folded = fold_batch_norms(net, golden.input[:1])
    for precision in ("fp32", "bf16"):
        limit = parity.bounds(net, precision, golden)
        with torch.no_grad():
            output = cast(folded, precision)(golden.input)
        assert parity.judge(output, golden, limit).passed


def test_folding_removes_every_batch_norm_and_rounds_once(net: SmallNet) -> None:
    example = torch.randn(1, *SHAPE)
    folded = fold_batch_norms(net, example)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert isinstance(net.bn1, nn.BatchNorm2d), "the module given must stay as it was"
    scale = net.bn1.weight.double() / (net.bn1.running_var.double() + net.bn1.eps).sqrt()
    expected = (net.conv1.weight.double() * scale[:, None, None, None]).float()
    assert torch.equal(folded.get_submodule("conv1").weight, expected)


def test_a_shared_convolution_is_not_folded() -> None:
    """Folding into a convolution that runs twice would scale its other use as well."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.bn = nn.BatchNorm2d(2)
            nn.init.uniform_(self.bn.running_mean, -1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.bn(self.conv(x)) + self.conv(x)).mean((2, 3))

    module = Shared().eval()
    x = torch.randn(1, *SHAPE)
    folded = fold_batch_norms(module, x)
    assert isinstance(folded.get_submodule("bn"), nn.BatchNorm2d)
    assert torch.equal(folded(x), module(x))


def test_nan_and_no_clear_sample_fail(net: SmallNet) -> None:
    golden = parity.make_golden(net, SHAPE, None)
    limit = parity.bounds(net, "fp32", golden)
    poisoned = golden.oracle.float()
    poisoned[3, 2] = torch.nan
    assert "non-finite" in " ".join(parity.judge(poisoned, golden, limit).reasons)
    unclear = parity.Bounds(k=2.0, e_eager=golden.oracle[:, 0] * 0 + 1e9, floor=limit.floor)
    assert "clear enough" in " ".join(parity.judge(golden.oracle.float(), golden, unclear).reasons)


@pytest.mark.parametrize("fault", ["epsilon changed", "stale weights"])
def test_nothing_is_published_when_parity_fails(
    fault: str, net: SmallNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "fold_batch_norms", lambda *_: faulty(fault).eval())
    with pytest.raises(CheckFailed, match="parity"):
        compile_module(net, CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("kind", KINDS)
def test_constants_read_back_from_the_file(kind: str, built: dict[str, Path]) -> None:
    """The gate reads the saved file: the right weights pass, other weights do not."""
    artifact = open_artifact(built[kind])
    maker = backend(artifact.manifest["backend"])
    program = artifact.programs[0]
    path = artifact.files[program.file].path
    spec = CompileSpec(shape=SHAPE, precision=artifact.manifest["precision"])
    for seed, expected in ((0, True), (1, False)):
        weights = small_subject(seed).task(spec, maker).weights
        constants = maker.constants(path, program)
        gate = gates.constants(weights, spec.precision, constants)
        assert gate["passed"] is expected, gate


def test_check_finds_a_forged_program(
    copy_of: Callable[[str], Path], runner: Path, tmp_path: Path
) -> None:
    """Another network under fitting hashes: Python, zoo-run and zoo-run --check all say so."""
    folder = copy_of("torchscript")
    other = compile_module(
        small_net(1), CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path / "other"
    )
    (folder / "model.ts").write_bytes((other.path / "model.ts").read_bytes())
    rewrite(folder, lambda m: m.update(files=file_entries(folder)))
    rows = check_artifact(folder, runner)
    assert [(row.ran_in, row.verdict) for row in rows] == [
        ("torch", "FAILED"),
        ("zoo-run", "FAILED"),
    ]
    done = subprocess.run([runner, folder, "--check"], capture_output=True, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("kind", KINDS)
def test_check_passes_and_counts_what_is_right(
    kind: str, copy_of: Callable[[str], Path], runner: Path
) -> None:
    folder = copy_of(kind)
    programs = open_artifact(folder).programs
    images = torch.randn(11, *SHAPE)
    labels = parity.oracle(small_net(), images).argmax(dim=1)
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
        ours = parity.run_rows(run, x, artifact.programs[0].batch)
        low = artifact.programs[0].batch[0]
        theirs = run_inputs(runner, built[kind], x, torch.get_num_threads(), batch=low)
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_the_manifest_says_what_was_measured(built: dict[str, Path]) -> None:
    for kind, path in built.items():
        manifest = open_artifact(path).manifest
        entry = manifest["parity"]
        assert entry["top1"]["agreed"] == entry["top1"]["decided"] > 0
        assert all(sample["rmse"] <= sample["bound"] for sample in entry["samples"])
        assert all(gate["passed"] for gate in entry["gates"])
        assert manifest["determinism"]["bit_identical"]
        assert set(manifest["nonfinite"]) == {"nan", "inf"}
        assert ("zoo-run" in entry["ran_in"]) == (kind not in PYTHON_ONLY)


def test_copying_a_module_for_the_oracle_leaves_it_alone(net: SmallNet) -> None:
    before = copy.deepcopy(net.state_dict())
    parity.bounds(net, "bf16", parity.make_golden(net, SHAPE, None))
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert net.conv1.weight.dtype == torch.float32
