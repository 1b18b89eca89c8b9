"""zoo bench --profile: which operators an artifact spends its time in, and a trace of them."""

from __future__ import annotations

import io
import json
import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

import zoo
from compile.api import compile_module
from compile.artifact.programs import ProgramFile
from compile.backends import openvino
from compile.backends.events import Event
from compile.backends.onednn_events import REST, by_onednn
from compile.errors import BadArtifact, UsageError
from compile.measure.profile import NOT_MEASURED, by_operator, profile, profile_here
from compile.spec import CompileSpec
from tests.support import tiny_onnx
from tests.support.networks import SHAPE, small_net
from zoo.cli import _run
from zoo.cli.profile_table import profile_table

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}


def artifact(folder: Path, backend: str) -> Path:
    """One that answers batches 1 to 64, or a small residual network for batch 1."""
    if backend not in PACKAGES:
        spec = CompileSpec(shape=SHAPE, batch=(1, 1))
        return compile_module(small_net(), spec, backend=backend, root=folder).path
    if find_spec(PACKAGES[backend]) is None:
        pytest.skip(f"{PACKAGES[backend]} is not installed")
    return tiny_onnx.artifact(folder / "a", backend=backend)


@pytest.mark.parametrize(
    ("backend", "operator"),
    [
        ("eager", "aten::relu"),
        ("torchscript", "aten::relu"),
        ("onnx", "MatMul"),
        ("openvino", "FullyConnected"),
    ],
)
def test_each_runtime_names_its_operators(backend: str, operator: str, tmp_path: Path) -> None:
    seen = profile_here(artifact(tmp_path, backend), calls=4, threads=1)
    events = [Event(**each) for each in seen["events"]]
    rows = {row["operator"]: row for row in by_operator(events)}
    assert rows[operator]["calls"] % 4 == 0 and rows[operator]["calls"] > 0, [*rows]
    assert seen["batch"] == 1
    begin = min(each.start_us for each in events)
    end = max(each.start_us + each.duration_us for each in events)
    own = sum(each.own_us for each in events)
    assert 0 < own <= 1.01 * (end - begin), "the time of an operator counts once"
    assert all(0 <= each.own_us <= each.duration_us + 1 for each in events)


def test_what_onednn_logs_is_the_profile_of_compiled_programs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    x, weight = torch.randn(1, 16, 24, 24), torch.randn(32, 16, 3, 3)

    def run(x: torch.Tensor) -> torch.Tensor:
        convolve = torch.ops.mkldnn._convolution_pointwise
        with torch.no_grad():
            return convolve(x, weight, None, [1, 1], [1, 1], [1, 1], 1, "none", [], "")

    program = ProgramFile(file="model.pt2", batch=(1, 1))
    events = by_onednn(run, "", program, x, 3)
    rows = {row["operator"]: row for row in by_operator(events)}
    assert rows["onednn convolution"]["calls"] == rows[REST]["calls"] == 3
    assert any("ic16oc32" in each.name for each in events)
    spans = [(each.start_us, each.start_us + each.duration_us) for each in events]
    assert spans == sorted(spans)
    os.write(1, b"stdout is back")
    assert capfd.readouterr().out == "stdout is back"


class Counting:
    """A request of OpenVINO whose first call takes a hundred times as long as the others."""

    def __init__(self) -> None:
        self.calls = 0

    def create_infer_request(self) -> Counting:
        return self

    def infer(self, inputs: list[Any]) -> None:
        self.calls += 1

    @property
    def profiling_info(self) -> list[SimpleNamespace]:
        mean = timedelta(microseconds=(1000 + 10 * (self.calls - 1)) / self.calls)
        ran = {"status": "Status.EXECUTED", "node_type": "Convolution"}
        return [
            SimpleNamespace(**ran, node_name="c", real_time=mean),
            SimpleNamespace(**ran, node_name="too fast", real_time=timedelta()),
            SimpleNamespace(
                status="Status.NOT_RUN", node_type="Result", node_name="y", real_time=timedelta()
            ),
        ]


def test_the_counters_of_openvino_are_means_over_all_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = artifact(tmp_path, "openvino")
    monkeypatch.setattr(openvino, "_compiled", lambda *given, **more: Counting())
    events = openvino.profile(
        lambda x: x,
        str(folder / "model.onnx"),
        ProgramFile(file="model.onnx", batch=(1, 64)),
        torch.zeros(1, 1, 2, 2),
        10,
    )
    times = {name: [each.own_us for each in events if each.name == name] for name in "cy"}
    assert times["c"] == [pytest.approx(10, abs=2)] * 10, "not the first calls"
    assert times["y"] == []
    assert {each.own_us for each in events if each.name == "too fast"} == {0.5}


def event(operator: str, own: float) -> Event:
    return Event(operator=operator, name=operator, start_us=0.0, duration_us=9.0, own_us=own)


def test_operators_are_added_up() -> None:
    rows = by_operator([event("a", 1000.0), event("b", 5000.0), event("a", 2000.0)])
    assert rows == [
        {"operator": "b", "calls": 1, "total_ms": 5.0, "share": 0.625},
        {"operator": "a", "calls": 2, "total_ms": 3.0, "share": 0.375},
    ]
    assert by_operator([]) == []


def test_the_command_writes_a_trace_and_says_that_it_measures_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, trace = artifact(tmp_path, "onnx"), tmp_path / "trace.json"
    options = ["--threads", "1", "--iterations", "3", "--json", "--quiet"]
    assert _run(["bench", str(folder), "--profile", str(trace), *options]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["kind"] == "profile" and report["calls"] == 3
    assert report["note"] == NOT_MEASURED and "latency_ms" not in report
    document = json.loads(trace.read_text())
    events = [each for each in document["traceEvents"] if each["ph"] == "X"]
    assert {each["cat"] for each in events} == {row["operator"] for row in report["operators"]}
    assert min(each["ts"] for each in events) == 0 and all(each["dur"] >= 0 for each in events)
    found = zoo.bench(folder, profile=trace, iterations=2, threads=1)
    assert found["calls"] == 2 and {*found["operators"][0]} == {*report["operators"][0]}
    with pytest.raises(UsageError, match="leave out sweep and duration"):
        zoo.bench(folder, profile=trace, duration=1.0)
    document = json.loads(trace.read_text())
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(BadArtifact, match="was changed or damaged"):
        profile(folder, trace)
    assert json.loads(trace.read_text()) == document


def test_the_table_shows_the_longest(tmp_path: Path) -> None:
    operators = by_operator(event(f"aten::{'very_' * 12}long_{n}", 10.0 * n) for n in range(1, 21))
    report: dict[str, Any] = {
        "artifact": "a/b",
        "calls": 10,
        "batch": 1,
        "note": NOT_MEASURED,
        "operators": operators,
        "conditions": {"cpu": "a CPU", "threads": 2, "versions": {}, "date": "today"},
    }
    console = Console(width=80, record=True, file=io.StringIO())
    for line in profile_table(report):
        console.print(line, markup=False, highlight=False)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert max(map(len, lines)) <= 80
    assert sum(line.endswith(" %") for line in lines) == 15
    assert "not shown: 5 operators with 7.1 % of the time" in lines
    assert NOT_MEASURED in lines


def test_what_cannot_be_profiled_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_onnx.artifact(tmp_path / "a", backend="openvino")
    words = ["bench", str(folder), "--profile", str(tmp_path / "trace.json")]
    for wrong in (["--duration", "1"], ["--sweep", "batch=1"]):
        assert _run([*words, *wrong]) == 2
        assert f"{wrong[0]} has no effect; leave it out" in capfd.readouterr().err
    monkeypatch.delattr(openvino, "profile")
    assert _run([*words, "--quiet"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "an artifact of openvino for cpu cannot be profiled" in line
    able = line.rpartition("can: ")[2].split(", ")
    assert {"eager", "torch-compile", "torchscript"} <= set(able) and "openvino" not in able
    assert not (tmp_path / "trace.json").exists()


def test_only_a_trace_is_replaced(tmp_path: Path) -> None:
    folder, other = tiny_onnx.artifact(tmp_path / "a", backend="openvino"), tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(UsageError, match="is not a trace of zoo; name another file"):
        profile(folder, other)
    assert other.read_text() == "mine"
    with pytest.raises(UsageError, match="is not a folder"):
        profile(folder, tmp_path / "nowhere" / "trace.json")
