"""Weights are packed where a program runs: oneDNN reorders none of them in a steady call."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch._inductor import constant_folding, virtualized

from compile.api import compile_module, load
from compile.backends import inductor
from compile.backends.inductor_file import layout
from compile.backends.packing import packed_at_load
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, small_net
from tests.support.onednn import in_python, in_runner

WIDE = (8, 14, 14)
THREADS = (1, 2, 3, 4)


class WideNet(nn.Module):
    """oneDNN's layout of `wide` depends on the number of threads, on every CPU that was tried."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(WIDE[0], 128, 3, padding=1)
        self.grouped = nn.Conv2d(128, 128, 3, padding=1, groups=4)
        self.wide = nn.Conv2d(128, 512, 1)
        self.narrow = nn.Conv2d(512, 64, 1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x).relu()
        y = self.narrow(self.wide(self.grouped(y).relu()).relu()).relu()
        return self.fc(y.mean((2, 3)))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, runner: Path) -> Path:
    """Batch 1 has a program of its own, 2 to 4 have one together."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = WideNet().eval()
    spec, root = CompileSpec(shape=WIDE, batch=(1, 4)), tmp_path_factory.mktemp("wide")
    return compile_module(net, spec, backend="inductor", root=root, runner=runner).path


@pytest.mark.parametrize("threads", THREADS)
def test_no_steady_call_reorders_a_weight(wide: Path, threads: int, runner: Path) -> None:
    """Packed for this number of threads before the first convolution, and never after it."""
    for batch in (1, 3):
        seen, printed = in_runner(runner, wide, threads, batch, calls=4)
        assert seen.packed >= 5 and seen.convolutions >= 4 * 4
        assert seen.reordered == 0, f"batch {batch}"
        assert "repacks" not in printed


@pytest.mark.parametrize("kind", ["inductor", "inductor-bf16", "inductor-int8"])
def test_nor_at_another_precision(built: dict[str, Path], kind: str, runner: Path) -> None:
    for threads in THREADS:
        for batch in (1, 5) if kind == "inductor" else (1,):
            seen, _ = in_runner(runner, built[kind], threads, batch, calls=2)
            assert seen.packed >= 4 and seen.reordered == 0, (threads, batch)


def test_nor_on_another_kind_of_cpu(wide: Path, runner: Path) -> None:
    for cpu in ("AVX2", "AVX512_CORE"):
        for batch in (1, 3):
            seen, _ = in_runner(runner, wide, 2, batch, calls=2, cpu=cpu)
            assert seen.packed >= 5 and seen.reordered == 0, (cpu, batch)


def test_python_packs_again_for_other_threads_and_batches(
    wide: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, before = load(wide), torch.get_num_threads()
    rows = torch.randn(3, *WIDE, generator=torch.Generator().manual_seed(5))
    outputs = []
    try:
        for threads in (1, 3, 2):
            torch.set_num_threads(threads)
            for size in (1, 3, 2):
                x = rows[:size].clone()
                assert in_python(capfd, lambda x=x: run(x)).packed >= 5
                seen = in_python(capfd, lambda x=x: outputs.append(run(x)))
                assert seen.packed == seen.reordered == 0, (threads, size)
    finally:
        torch.set_num_threads(before)
    for output in outputs:
        torch.testing.assert_close(output, outputs[1][: len(output)])


def test_the_file_holds_plain_weights(wide: Path) -> None:
    for file in ("model-b1.pt2", "model.pt2"):
        rows = layout(str(wide / file))
        assert all(row.folded == row.packed for row in rows)
        assert any(row.folded for row in rows)


def test_torch_is_as_before_after_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = list(constant_folding._dont_constant_fold)
    original = vars(type(virtualized.V))["set_extern_kernel_nodes"]
    with pytest.raises(RuntimeError), packed_at_load(CompileSpec(shape=SHAPE)):
        assert constant_folding._dont_constant_fold != kept
        raise RuntimeError
    assert constant_folding._dont_constant_fold == kept
    assert vars(type(virtualized.V))["set_extern_kernel_nodes"] is original


def test_without_the_private_parts_of_torch_it_is_packed_at_build(
    tmp_path: Path, runner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by an older zoo. The figures of a program that repacks on every call are not to be quoted.

    Inductor packs no convolution for a range of batches.
    """
    monkeypatch.setattr(inductor, "can_leave_packing_to_load", lambda: False)
    spec = CompileSpec(shape=SHAPE, batch=(2, 3))
    path = compile_module(small_net(), spec, backend="inductor", root=tmp_path, runner=runner).path
    assert not any(row.folded for row in layout(str(path / "model.pt2")))
    threads = torch.get_num_threads()
    seen, printed = in_runner(runner, path, threads + 1, 2)
    assert seen.reordered >= 4 * 3
    plural = "s" if threads > 1 else ""
    assert f"repacks 3 weights on every call: built for {threads} thread{plural}" in printed
    assert "INVALID" in printed
    assert "built for another CPU or batch" in in_runner(runner, path, threads, 2)[1]
