"""Two programs in one .pt2: a static one for batch 1 and a dynamic one, both of range 1."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._inductor import aot_compile
from torch._inductor.package.package import package_aoti

from tests.support.runner import ROWS, check, golden_input, refused, run, weights, write_artifact

ENTRIES = {"static": (1, 1), "dynamic": (1, 64)}


class Net(nn.Module):
    """`flatten(x) @ weights()`, and `fault` beside it."""

    def __init__(self, fault: float = 0) -> None:
        super().__init__()
        self.w = nn.Parameter(weights() + fault)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.w


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact whose static program has a fault, so that it shows which one ran."""
    place = tmp_path_factory.mktemp("programs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own code
        package_aoti(str(place / "model.pt2"), {entry: _compiled(entry) for entry in ENTRIES})
    programs = [
        {"file": "model.pt2", "batch": [low, high], "entry": entry}
        for entry, (low, high) in ENTRIES.items()
    ]
    content = (place / "model.pt2").read_bytes()
    return write_artifact(place / "a", {"model.pt2": content}, programs, backend="inductor")


def _compiled(entry: str) -> Any:
    low, high = ENTRIES[entry]
    example = (golden_input()[: min(2, high)],)
    dynamic = {"x": {0: torch.export.Dim("batch", max=high)}} if low < high else None
    net = Net(1e-3 if entry == "static" else 0)
    exported = torch.export.export(net, example, dynamic_shapes=dynamic)
    options = {"aot_inductor.package": True}
    return aot_compile(exported.module(check_guards=False), example, options=options)


def test_the_first_that_answers_runs(folder: Path, runner: Path) -> None:
    code, out, _ = run(runner, folder, "--check")
    assert code == 1
    assert "model.pt2:static, batch 1: FAILED" in out
    assert f"model.pt2:dynamic, batch {ROWS}: PASSED" in out
    assert run(runner, folder, "--check", "--batch", 1)[0] == 1
    assert check(runner, folder, "--batch", 2)["file"] == "model.pt2:dynamic"


def test_each_is_measured_by_its_batch(folder: Path, runner: Path) -> None:
    for batch in (1, 3):
        code, _, err = run(runner, folder, "--batch", batch, "--iterations", 2)
        assert code == 0, err


def test_an_entry_that_is_not_there_is_refused(folder: Path, runner: Path, tmp_path: Path) -> None:
    content = (folder / "model.pt2").read_bytes()
    programs = [{"file": "model.pt2", "batch": [1, 1], "entry": "none"}]
    bad = write_artifact(tmp_path, {"model.pt2": content}, programs, backend="inductor")
    assert "model.pt2" in refused(runner, bad, "--check", code=3)
