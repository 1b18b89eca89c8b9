"""The faults that the corpus plants in any network, and the rules that it compares."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from compile.proof import yardstick
from compile.proof.prepared import PreparedModel
from results.corpus.jobs import WAYS
from results.corpus.planted import PLANTS, planted
from results.corpus.yardsticks import RULES, chosen_on, report
from tests.support.networks import SHAPE, small_net


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(small_net(), nn.GELU(), nn.Linear(10, 10)).eval()


@torch.no_grad()
def test_each_fault_changes_a_copy_and_says_where() -> None:
    right = network()
    images = 20 * torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))  # ReLU6 cuts
    before = copy.deepcopy(right.state_dict())
    output = right(images)
    found = {}
    for name, where, wrong in planted(right, seed=0):
        found[name] = where
        assert not torch.equal(wrong(images), output), name
    assert set(found) == set(PLANTS) and all(found.values())
    assert all(torch.equal(before[name], value) for name, value in right.state_dict().items())


def test_a_fault_without_a_place_is_left_out() -> None:
    names = [name for name, _, _ in planted(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), seed=0)]
    assert "padding mode" not in names and "channels exchanged" not in names
    assert "bias dropped" in names


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """A row of the corpus with the errors of the small network."""
    golden = PreparedModel(small_net(), SHAPE).golden("float32")
    ways = yardstick.way_errors(small_net(), "fp32", golden)
    return {
        "part": "b",
        "network": "small",
        "seed": 0,
        "precision": "fp32",
        "backend": WAYS,
        "size": golden.oracle.square().mean(dim=1).sqrt().tolist(),
        "ways": {name: error[:, 0].tolist() for name, error in ways.items()},
        "faults": {"tiny": {"at": "fc", "rmse": [0.0] * len(golden.input)}},
    }


def test_the_rule_that_was_taken_is_the_one_that_judges(measured: dict[str, Any]) -> None:
    golden = PreparedModel(small_net(), SHAPE).golden("float32")
    bound = yardstick.measure_bounds(small_net(), "fp32", golden).bound[:, 0]
    taken = torch.tensor(RULES[-1].bounds(measured), dtype=torch.float64)
    tiny = golden.kinds.index("denormal")  # whose bound has a term of its own
    kept = torch.arange(len(bound)) != tiny
    torch.testing.assert_close(taken[kept], bound[kept])


def test_the_report_counts_each_half_by_itself(measured: dict[str, Any]) -> None:
    sizes = measured["size"]
    programs = [
        {**measured, "backend": name, "rmse": [error * size for size in sizes]}
        for name, error in (("onnx", 0.0), ("openvino", 1.0))
    ]
    tables = "\n".join(report([measured, *programs]))
    mine, other = (
        ("chosen on", "measured on") if chosen_on("small") else ("measured on", "chosen on")
    )
    assert f"{mine}: 1 networks" in tables and f"{other}: 0 networks" in tables
    assert tables.count("| 1 of 2 (9.5 to 90.5) | 1 of 1 (20.7 to 100.0) |") == len(RULES)
