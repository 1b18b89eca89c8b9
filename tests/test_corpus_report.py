"""What `just corpus` keeps and prints: processes that break, its file, its report."""

from __future__ import annotations

import json
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import results.corpus.report
from results.corpus import table
from results.corpus.jobs import Job
from results.corpus.judging import (
    BROKE,
    FALSE_ACCEPT,
    FALSE_REFUSAL,
    NOT_BUILT,
    RIGHT,
    TOO_COARSE,
    judged,
)
from results.corpus.report import WIDTH, report, share
from results.corpus.row import failures, with_head
from results.corpus.running import Running
from results.corpus.table import Table
from results.corpus.truth import first_off, in_double
from tests.networks import NETWORKS

JOB = Job(part="d", network="random-0", seed=0, backend="onnx", precision="fp32")
FAR = float("inf")
COARSE, UNCLEAR = (
    "gate 'quantisation noise' (9 for a bound of 0.7)",
    "gate 'a clear sample' (0 for a bound of 1)",
)
FIGURES = {"rmse": [0.5], "bound": [1.0], "kinds": ["normal"]}


def life(jobs: list[Job], threads: int, limit: float, connection: Connection) -> None:
    """What a process does here: the network of a row says how it ends."""
    for job in jobs:
        if job.network == "crash":
            os.abort()
        if job.network in ("slow", "hang"):
            time.sleep(60 if job.network == "hang" else 1.2)
        row = {"network": job.network, "process": os.getpid()}
        connection.send_bytes(json.dumps(row).encode())


def group(*names: str) -> list[Job]:
    """A row for each name."""
    return [Job(part="d", network=name, seed=0, backend="onnx", precision="fp32") for name in names]


def test_a_crash_and_a_hang_cost_one_row_and_a_new_process_does_the_rest() -> None:
    running = Running(threads=1, limit=2.0, life=life)
    groups = [group("one", "two", "crash", "three"), group("hang", "four"), group("five")]
    rows = list(running.rows(groups, time.monotonic() + 600))
    assert [row["network"] for row in rows] == [job.network for each in groups for job in each]
    assert rows[2]["failures"] == ["the process ended with -6"]
    assert rows[4]["failures"] == ["no end after 2 s"] and rows[4]["seconds"] >= 2
    assert [row["network"] for row in rows if "built" in row] == ["crash", "hang"]
    one, two, three, four, five = (row["process"] for row in rows if "process" in row)
    assert one == two and len({two, three, four, five}) == 4


def test_each_row_of_a_process_has_the_whole_limit() -> None:
    rows = list(Running(threads=1, limit=2.0, life=life).rows([group(*["slow"] * 3)], FAR))
    assert len({row["process"] for row in rows}) == 1


def test_nothing_is_started_when_the_time_is_over() -> None:
    running = Running(threads=1, limit=5.0, life=life)
    assert list(running.rows([[JOB]], time.monotonic())) == []
    rows = list(running.rows([group("slow", "two")], time.monotonic() + 1))
    assert [row["network"] for row in rows] == ["slow"]


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Table.newest(tmp_path)
    first.append({**vars(JOB), "built": "passed", **FIGURES})
    with first.path.open("a") as file:
        file.write('{"part": "d", "netw')  # the power went
    again = Table.newest(tmp_path)
    assert again.path == first.path and [*again.rows] == [JOB.key]
    monkeypatch.setattr(table, "commit", lambda: "another")
    assert Table.newest(tmp_path).rows == {}


def test_the_report_has_the_newest_row_of_each_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for commit, network, ratio in (
        ("first", "resnet20", 0.5),
        ("first", "plain20", 0.25),
        ("second", "resnet20", 0.75),
    ):
        monkeypatch.setattr(table, "commit", lambda commit=commit: commit)
        Table.newest(tmp_path).append(made(part="c", network=network, **FIGURES, parts=ratio))
    monkeypatch.setattr(table, "commit", lambda: "third")
    shown = Table.newest(tmp_path).reported()
    found = {row["network"]: (row["commit"], row["parts"]) for row in shown.rows.values()}
    assert found == {"resnet20": ("second", 0.75), "plain20": ("first", 0.25)}
    text = report([*shown.rows.values()], shown.conditions).replace("\n", " ")
    assert "part c: 1 rows of commit second, 1 of first; the sources are at third now" in text


def test_a_classifier_of_zeros_is_made_random() -> None:
    class Network(nn.Module):
        def __init__(self, weight: float) -> None:
            super().__init__()
            self.head = nn.Sequential(nn.Dropout(), nn.Linear(4, 3))
            nn.init.constant_(self.head[1].weight, weight)

        def get_classifier(self) -> nn.Module:
            return self.head

    assert bool(with_head(Network(0.0), 0).head[1].weight.any())
    assert torch.equal(with_head(Network(1.0), 0).head[1].weight, torch.ones(3, 4))


def made(**given: Any) -> dict[str, Any]:
    row = {"part": "a", "network": "smallest", "backend": "onnx", "precision": "fp32", "seed": 0}
    return {**row, "commit": "c", "built": "passed", "stage": "publish", "failures": [], **given}


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (made(), RIGHT),
        (made(built="refused"), FALSE_REFUSAL),
        (made(built="refused", truth="the exporter is wrong: ..."), RIGHT),
        (made(built="refused", truth="the exporter is right"), FALSE_REFUSAL),
        (made(built="refused", stage="build"), NOT_BUILT),
        (made(built="error"), BROKE),
        (made(network="random_mask"), FALSE_ACCEPT),
        (made(network="random_mask", built="refused"), RIGHT),
        (made(network="random_mask", built="error"), BROKE),
        (made(network="scripted"), RIGHT),
        (made(network="scripted", built="refused"), RIGHT),
        (made(network="padded_pool_rounded_up", backend="openvino"), FALSE_ACCEPT),
        (made(network="padded_pool_rounded_up"), RIGHT),
        (made(part="b", network="test_vit", built="refused"), FALSE_REFUSAL),
        (made(part="b", network="csatv2", backend="openvino", built="refused"), RIGHT),
        (made(part="b", network="csatv2", backend="openvino"), FALSE_ACCEPT),
        (made(part="b", network="csatv2", built="refused"), FALSE_REFUSAL),
        (made(precision="int8", built="refused", failures=[COARSE, UNCLEAR]), TOO_COARSE),
        (made(precision="int8", built="refused", failures=["bound: 3", COARSE]), FALSE_REFUSAL),
        (made(precision="int8", built="refused", failures=[]), FALSE_REFUSAL),
        (made(built="refused", failures=[UNCLEAR]), FALSE_REFUSAL),
    ],
)
def test_rows_are_judged(row: dict[str, Any], word: str) -> None:
    assert judged(row) == word


def test_the_report_counts_and_fits_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = tmp_path / "explained.json"
    explained.write_text(json.dumps({"a mixer 0 onnx fp32": "A person looked. " * 20}))
    monkeypatch.setattr(results.corpus.report, "EXPLAINED", explained)
    rows = [
        made(**FIGURES),
        made(network="mixer", built="refused", **{**FIGURES, "rmse": [3.0]}, failures=["bound 3"]),
        made(network="random_mask", **FIGURES),
        made(network="mixup", built="refused", failures=["a reason of many words " * 40]),
        made(network="attention", built="refused", stage="build", failures=["no operator"]),
        made(network="dilated", built="error", failures=["the process ended with -11"]),
        made(network="dilated", backend="pytorch", built="measured"),
    ]
    text = report(rows, {"cpu": "A", "torch": "2", "commit": "c"})
    assert "The sources" not in text and text.replace("\n  ", " ").count("A person looked.") == 20
    assert f"| a: Networks with a truth | fp32 | 0 | 6 of {len(NETWORKS)} |" in text
    total = next(line for line in text.splitlines() if line.startswith("| all"))
    assert total == "| all, fp32 | 1 of 2 (9.5 to 90.5) | 1 of 2 (9.5 to 90.5) | 0 | 1 | 1 |"
    assert "| mixer | sound | **3** |" in text and "| random_mask | refuse | **passed** |" in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert share(0, 0) == "-" and share(0, 100) == "0 of 100 (0.0 to 3.7)"


def test_what_failed_is_told_from_the_figures() -> None:
    gate = {"name": "batches", "passed": False, "worst": "batch 7", "value": 3.0, "bound": 1.0}
    top1 = {"decided": 4, "agreed": 3}
    kinds, bounds = ["zeros", "normal", "large"], [0.0, 1.0, 1.0]
    said = failures(kinds, [0.0, 2.0, None], bounds, top1, [gate, {"passed": True}])
    assert said == [
        "bound: normal 2, large inf",
        "class: another in 1 clear samples",
        "gate 'batches' at batch 7 (3.00 for a bound of 1)",
    ]
    assert failures(kinds, [0.0, 1.0, 1.0], bounds, {"decided": 1, "agreed": 1}, []) == []


def test_the_node_that_rounds_is_named() -> None:
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Mul", ["input", "one"], ["kept"], name="keep"),
        helper.make_node("Add", ["kept", "much"], ["raised"], name="raise"),
        helper.make_node("Sub", ["raised", "much"], ["logits"], name="lower"),
    ]
    constants = [
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("much", TensorProto.FLOAT, [], [1e5]),
    ]
    sizes = [1, 3, 4, 4]
    graph = helper.make_graph(
        nodes,
        "cancels",
        [value("input", TensorProto.FLOAT, sizes)],
        [value("logits", TensorProto.FLOAT, sizes)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert first_off(model, x).startswith("the first node off is Sub lower (")
    lifted = in_double(model)
    onnx.checker.check_model(lifted, full_check=True)
    (out,) = onnx.reference.ReferenceEvaluator(lifted).run(None, {"input": x.numpy()})
    assert float((torch.from_numpy(out) - x).abs().max()) < 1e-10
