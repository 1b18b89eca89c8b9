"""Right answers: the float64 model's classes, intervals, McNemar's test, and what check shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compile.backends import BACKENDS
from compile.network.oracle import oracle
from compile.proof.accuracy import mcnemar, reference_classes, score, wilson
from compile.proof.check import Row, check_artifact
from compile.proof.images import Labelled
from compile.proof.parity import OutputVerdict
from compile.report import show
from compile.spec import MAX_BATCH
from tests.support.networks import SHAPE, SmallNet, small_net
from zoo.cli.check_tables import check_table


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
    expected = oracle(net, images.double()).argmax(dim=1)
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


SCORES = OutputVerdict(
    name="logits",
    rmse=[],
    ratio=0.4,
    parts=None,
    worst="normal",
    max_abs=1e-6,
    sqnr_db=133.0,
    top1=(23, 23),
)

PLAIN = Row(
    outputs=(SCORES,),
    artifact="resnet18-12345678/inductor-fp32-b1-cpu",
    status="proved",
    backend="inductor",
    precision="fp32",
    batch="1",
    ran_in="torch",
    ratio=0.4,
    eager_ratio=0.9,
    worst="normal",
    kinds={},
    sqnr_db=133.0,
    max_abs=1e-6,
    agreed=23,
    decided=23,
    samples=23,
    correct=None,
    total=None,
    accuracy=None,
    same_bits=None,
    determinism=None,
    nonfinite=None,
    skipped_samples=[],
    verdict="PASSED",
    reasons=(),
)


WIDEST: dict[str, Any] = {
    "correct": 100_000,
    "total": 100_000,
    "interval": [100.0, 100.0],
    "float64": {"correct": 100_000, "lost": 100_000, "won": 100_000, "mcnemar_p": 1e-300},
}
ONE_WRONG = {**WIDEST, "correct": 99_999}


def printed(
    rows: list[Row], capsys: pytest.CaptureFixture[str], special: dict[str, str] | None = None
) -> str:
    """What zoo check shows of these rows in a terminal of 80 columns."""
    capsys.readouterr()
    show(*check_table(rows, Path("zoo-run"), {}, special or {}))
    return capsys.readouterr().out


def failing(leaf: str, **fields: Any) -> Row:
    """The widest figures of a row."""
    widest = replace(
        PLAIN,
        artifact=f"wide_resnet101_2-12345678/{leaf}",
        ratio=1.4e6,
        eager_ratio=2.3e5,
        max_abs=1e2,
        correct=100_000,
        total=100_000,
        accuracy=WIDEST,
        verdict="FAILED",
        reasons=("error/bound",),
    )
    return replace(widest, **fields)


@pytest.mark.parametrize("target", ["x86-64-v3", "graniterapids"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_cell_of_a_failing_row_is_cut(
    backend: str,
    target: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rest = f"{target}-u8-3x224x224-portable"
    leaf = f"{backend}-bf16-b{MAX_BATCH - 1}-{MAX_BATCH}-cpu-{rest}"
    batch = f"{MAX_BATCH - 1}:{MAX_BATCH}"
    row = failing(leaf, backend=backend, precision="bf16", batch=batch, sqnr_db=-123.0)
    elsewhere = replace(row, ran_in="onnx.reference", sqnr_db=-12.34, accuracy=ONE_WRONG)
    rows = [
        *(row, elsewhere, replace(row, ran_in="onnxruntime", sqnr_db=-0.0123)),
        replace(row, ran_in="zoo-run", sqnr_db=None),
    ]
    text = printed(rows, capsys, {row.artifact: rest})
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for figure in ("1.4e+06", "2.3e+05", "1e+02", "23/23", "FAILED", "verdict", "onnx ref."):
        assert figure in text
    assert "  in onnx ref." in [line.rstrip() for line in text.splitlines()]
    told = "".join(text.split())
    assert told.count(rest) == 2 * len(rows), "in both tables"


def test_ordinary_labels_stay_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = replace(PLAIN, artifact="resnet18-12345678/inductor-fp32-b1-cpu-x86-64-v3")
    text = printed([row, PLAIN], capsys, {row.artifact: "x86-64-v3", PLAIN.artifact: ""})
    lines = [line.rstrip() for line in text.splitlines()]
    (at,) = [i for i, line in enumerate(lines) if line == "  x86-64-v3"]
    assert lines[at - 1].startswith("inductor fp32 b1 torch ")
    assert lines[at + 1].startswith("inductor fp32 b1 torch ")


def repeating(name: str, calls: int, runners: int, **fields: Any) -> Row:
    entry = {"calls": calls, "loads": 3, "threads": 1, "bit_identical": True, "runners": runners}
    entry["runners_identical"] = True if runners else None
    return replace(
        PLAIN,
        artifact=f"resnet18-12345678/{name}-fp32-b1-cpu",
        backend=name,
        determinism={**entry, **fields},
    )


REPEATS: dict[str, tuple[list[Row], str]] = {
    "some in zoo-run": (
        [repeating("eager", 86, 0), repeating("inductor", 1000, 2), repeating("openvino", 90, 2)],
        "the same bits over 86 to 1,000 calls and 3 loads: all; 2 of 3 also by 2 zoo-runs at once",
    ),
    "none in zoo-run": (
        [repeating("eager", 1, 0, loads=1)],
        "the same bits over 1 call and 1 load: all",
    ),
    "one is not known": (
        [repeating("eager", 100, 0), PLAIN],
        "the same bits over 100 calls and 3 loads: all 1 measured",
    ),
    "two rows of one artifact": (
        [repeating("onnx", 100, 0), repeating("onnx", 100, 0)],
        "the same bits over 100 calls and 3 loads: all",
    ),
    "one restless": (
        [repeating("eager", 86, 0, bit_identical=False), repeating("inductor", 1000, 2)],
        "not the same bits over 86 to 1,000 calls and 3 loads: 1 of 2: eager fp32 b1",
    ),
    "two runners apart": (
        [repeating("eager", 86, 0), repeating("inductor", 86, 2, runners_identical=False)],
        "not the same bits by 2 zoo-runs at once: 1 of 1: inductor fp32 b1",
    ),
}


@pytest.mark.parametrize("name", REPEATS)
def test_check_says_what_repeated_itself_and_how_often(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, expected = REPEATS[name]
    text = " ".join(printed(rows, capsys).split())
    assert re.search(rf" {re.escape(expected)} [a-z, ]+: no engine in zoo-run", text), text
