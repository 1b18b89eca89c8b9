"""What zoo compile --backend fastest prints of its candidates."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from compile.artifact.manifest import Manifest
from compile.errors import CheckFailed
from compile.measure.fastest import candidates, choose, evidence
from tests.support.manifests import base
from tests.test_choosing import LOST, NOISE, report
from zoo.api.fastest import Fastest
from zoo.cli.cells import Cell
from zoo.cli.fastest import fastest_table

PLACES = [
    f"artifacts/net-12345678/{name}-b1-64-cpu"
    for name in ("torchscript-fp32", "openvino-int8", "inductor-bf16")
]


def manifest(path: str) -> Manifest:
    made = base()
    backend, precision, *_ = Path(path).name.split("-")
    made.update(backend=backend, precision=precision)
    made["programs"][0]["batch"] = [1, 64]
    return made


def printed(goal: str) -> str:
    """The table of three candidates, of which the limit of accuracy refuses two."""
    manifests = [manifest(path) for path in PLACES]
    times = (2.0, 1.9, 123.4)
    entries = [
        {
            "artifact": path,
            "rounds_ms": [ms * each for each in NOISE],
            "latency_ms": {"median": ms, "median_interval": None},
            "conditions": {"cpu": "a CPU", "threads": 2, "torch": "2.13.0", "date": "2026-11-28"},
        }
        for path, ms in zip(PLACES, times, strict=True)
    ]
    measured = report(*entries)
    found = candidates(measured, manifests, [None, LOST, "no images"], 0.5)
    choice = choose(found)
    asked = {"goal": goal, "max_accuracy_loss": 0.5, "left_out": []}
    chosen = {**manifests[0], "evidence": evidence(choice, found, measured, **asked)}
    fastest = Fastest(
        path=Path(PLACES[0]),
        manifest=chosen,
        choice=choice,
        candidates=tuple(found),
        manifests=dict(zip(PLACES, manifests, strict=True)),
        comparison=measured,
        removed=(Path(PLACES[2]),),
    )
    failed = Cell(backend="onnx", precision="int8", device="cpu")
    failed.failed = CheckFailed("parity failed")
    refused = Cell(backend="eager", precision="fp32", device="cpu", refused="has no engine")
    console = Console(width=80, record=True, file=io.StringIO())
    for line in fastest_table(fastest, [failed, refused]):
        console.print(line, markup=False, highlight=False)
    return console.export_text()


def test_the_fastest_stands_first_and_what_is_refused_has_a_reason() -> None:
    text = printed("latency")
    lines = text.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    rows = [line.split() for line in text.partition("openvino-int8")[0].splitlines()]
    assert ["openvino", "1.90", "0.950"] in [row[:3] for row in rows]
    verdicts = ("taken", "refused", "FAILED")
    firsts = [row[0] for row in rows if row[-1:] and row[-1] in verdicts]
    assert firsts == ["openvino", "torchscript", "inductor", "onnx"]
    for line in (
        "openvino-int8-b1-64-cpu: it loses 0.80 points of accuracy, 0.5 are allowed",
        "inductor-bf16-b1-64-cpu: what it loses in accuracy is not known: no images",
        "FAILED onnx int8: parity failed",
        "eager: has no engine",
        "take torchscript-fp32-b1-64-cpu: the only one that can be taken",
    ):
        assert line in text.splitlines()
    assert "for latency, batch 8, 11 rounds of zoo-run, a CPU, 2 threads" in text
    assert "inductor-bf16-b1-64-cpu; --keep-all keeps what was built" in " ".join(text.split())


def test_throughput_is_in_images_per_second() -> None:
    text = printed("throughput")
    assert "images" in text and "4000" in text
