"""zoo-run --scenario: each engine with several streams, its figures, and zoo report about them."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny_onnx
from tests.support.page import Seen
from zoo.cli import _run

STREAMS = ["--streams", "2", "--threads", "2"]
QUICK = ["--iterations", "40", "--warmup", "3"]
ENGINES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""A backend, and the package that its engine needs."""


@pytest.fixture(params=ENGINES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An artifact of each engine that is not torch's; the C++ tests have those of torch."""
    if find_spec(ENGINES[request.param]) is None:
        pytest.skip(f"{ENGINES[request.param]} is not installed")
    return tiny_onnx.artifact(tmp_path / "a", backend=request.param)


def run(runner: Path, folder: Path, *options: str) -> tuple[int, str, str]:
    """Return zoo-run's exit code, stdout and stderr."""
    command = [str(runner), str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def report(runner: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Return the report; the run must succeed."""
    code, out, err = run(runner, folder, *options, "--json", "-")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("scenario", ["multi-stream", "offline"])
def test_streams_share_a_program_and_answer_as_checked(
    scenario: str, folder: Path, runner: Path
) -> None:
    said = report(runner, folder, "--scenario", scenario, *STREAMS, *QUICK, "--batch", "3")
    assert (said["scenario"], said["streams"], said["threads_per_stream"]) == (scenario, 2, 1)
    assert said["answers"]["checked"] > 40 and said["answers"]["wrong"] == 0
    assert said["latency_ms"]["n"] == said["queries"] == len(said["samples_ns"])
    low, high = said["repetition"]["interval"]
    assert low <= said["repetition"]["ratio"] <= high


def test_a_server_has_its_rate_and_bound(folder: Path, runner: Path) -> None:
    given = ["--scenario", "server", "--rate", "4000", "--p99-ms", "60000", *STREAMS]
    said = report(runner, folder, *given, "--warmup", "3", "--iterations", "1000", "--seed", "5")
    assert (said["rate_per_s"], said["p99_bound_ms"], said["seed"]) == (4000, 60000, 5)
    assert said["queries"] == 1000 and said["latency_ms"]["p99"] > 0
    assert said["elapsed_ms"] > 200  # a thousand arrivals at this rate


def test_the_report_has_a_section_for_it(folder: Path, runner: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.json" for name in ("single", "offline")}
    assert run(runner, folder, "--threads", "1", *QUICK, "--json", str(files["single"]))[0] == 0
    options = ["--scenario", "offline", *STREAMS, *QUICK, "--json", str(files["offline"])]
    assert run(runner, folder, *options)[0] == 0
    assert json.loads(files["single"].read_text())["scenario"] == "single-stream"
    page = tmp_path / "page.html"
    assert _run(["report", *map(str, files.values()), "--html", str(page)]) == 0
    seen = Seen(page.read_text())
    assert len(seen.table(", batch 1, on").rows) == 1
    assert seen.table("scenarios").column("scenario") == ["offline"]


def test_wrong_outputs_make_it_invalid(runner: Path, tmp_path: Path) -> None:
    if find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    content = tiny_onnx.model()
    weights = content.graph.initializer[0]
    weights.raw_data = weights.raw_data[:-1] + b"\xbf"  # the last one is -1 now
    folder = tiny_onnx.artifact(tmp_path / "a", content, backend="onnx")
    said = report(runner, folder, "--scenario", "offline", "--threads", "1", *QUICK)
    assert said["verdict"] == "INVALID"
    assert "the outputs fail the proof: see --check" in said["reasons"]
    options = ["--scenario", "offline", "--threads", "1", *QUICK, "--strict"]
    assert run(runner, folder, *options)[0] == 1
