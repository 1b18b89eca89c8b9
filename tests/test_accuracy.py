"""Right answers: the float64 model's classes, intervals, McNemar's test, and what check shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import SHAPE, SmallNet, small_net
from torch import nn

from compile import parity
from compile.accuracy import reference_classes, score
from compile.check import check_artifact
from compile.stats import mcnemar, wilson
from compile.subject import Labelled


def test_float64_decides_where_float32_cannot() -> None:
    class Tie(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 3, bias=False)
            self.fc.weight.data = torch.tensor([[1.0, 0.0], [1.0, 2.0**-25], [0.0, 0.0]])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.flatten(1))

    images = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).reshape(2, 1, 1, 2)
    assert Tie()(images).argmax(dim=1).tolist() == [0, 0]
    assert reference_classes(Tie().eval(), images).tolist() == [1, 0]


def test_reference_classes_are_those_of_float64(net: SmallNet) -> None:
    images = torch.randn(200, *SHAPE, generator=torch.Generator().manual_seed(4))
    expected = parity.oracle(net, images.double()).argmax(dim=1)
    assert torch.equal(reference_classes(net, images), expected)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(1, 0) == 1
    assert mcnemar(5, 0) == mcnemar(0, 5) == 2 / 32
    assert mcnemar(1, 6) == pytest.approx(2 * (1 + 7) / 128)
    assert mcnemar(3, 3) == 1
    assert 0 < mcnemar(1500, 2500) < 1e-50
    assert mcnemar(50_000, 50_000) == 1
    assert 0 < mcnemar(9_800, 10_200) < 0.01, "in a moment, not in half a minute"


def test_intervals_and_tests_against_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy, the judge here, is not installed")
    for part, whole in ((0, 10), (10, 10), (891, 899), (1, 3), (50, 100)):
        judge = stats.binomtest(part, whole).proportion_ci(method="wilson")
        assert wilson(part, whole) == pytest.approx((judge.low, judge.high), abs=1e-7)
    for lost, won in ((1, 6), (9, 2), (0, 1), (40, 61), (7, 7)):
        judge = stats.binomtest(lost, lost + won).pvalue
        assert mcnemar(lost, won) == pytest.approx(judge, rel=1e-9)


def test_scores_pair_each_image_with_float64() -> None:
    labels = torch.tensor([0, 1, 2, 3, 4, 5])
    reference = torch.tensor([0, 1, 2, 3, 0, 0])
    classes = torch.tensor([0, 1, 0, 0, 4, 1])
    entry = score(classes, labels, reference)
    assert (entry["correct"], entry["total"]) == (3, 6)
    assert entry["float64"] == {
        "correct": 4,
        "same_class": 2,
        "lost": 2,
        "won": 1,
        "mcnemar_p": 1.0,
    }
    assert score(classes, labels, None)["float64"] is None


def test_check_compares_accuracy_with_float64(copy_of: Callable[[str], Path], runner: Path) -> None:
    images = torch.randn(40, *SHAPE)
    reference = reference_classes(small_net(), images)
    labels = reference.clone()
    labels[:4] = (labels[:4] + 1) % 10  # four that the model itself gets wrong
    data = Labelled(images=images, labels=labels, reference=reference)
    for row in check_artifact(copy_of("inductor-bf16"), runner, data):
        assert row.accuracy is not None
        against = row.accuracy["float64"]
        assert against["correct"] == 36
        assert row.correct == 36 - against["lost"] + against["won"]
        low, high = row.accuracy["interval"]
        assert low < 100 * 36 / 40 < high
