"""The report of `just bench-peers`: what it prints of rows that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import results.peers.report
from results.peers.cells import Cell
from results.peers.entries import FORM, PEER
from results.peers.report import NO_REASON, name_of, ratios_of, report
from results.peers.table import ROOF

CONDITIONS = {"commit": "c", "torch": "2", "cpu": "A"}


def column(name: str, kind: str, ms: float, **given: Any) -> dict[str, Any]:
    times = {"median_ms": ms, "interval_ms": [ms, ms], "rounds_ms": [ms] * 6, "error": 1e-7}
    facts = {"version": "1", "settings": {"threads": 2}, "stable": True}
    row = {"name": name, "kind": kind, "same_engine": "", "reason": None}
    return {**row, **times, **facts, **given}


def row(*entries: dict[str, Any], **given: Any) -> dict[str, Any]:
    cell = Cell(network="resnet50", precision="fp32", batch=1, threads=2, streams=1)
    plan = {"rounds": 6, "seconds": 6.0, "seed": 0, "cores": 2, "governor": "x", "load": 0.1}
    made = {**vars(cell), "limit": 2e-7, "entries": [*entries], "date": "2026-01-01T00:00:00Z"}
    return {**made, **plan, **CONDITIONS, **given}


OURS = column("inductor", FORM, 30.0)
OTHER = column("openvino", FORM, 20.0)
TOOL = column("OpenVINO", PEER, 24.0, same_engine="openvino")
ABSENT = {"name": "TVM", "kind": PEER, "same_engine": "", "reason": "it cannot be installed"}


def line_of(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("| resnet50"))


def test_the_best_other_form_does_not_use_the_best_tools_library() -> None:
    ratios = ratios_of(row(OURS, OTHER, TOOL, column("torchscript", FORM, 40.0)))
    assert ratios.best == "OpenVINO" and ratios.other == "inductor" and ratios.below
    assert ratios.ours is not None and ratios.ours.value == pytest.approx(0.8)
    faster = ratios_of(row(OURS, OTHER, column("MNN", PEER, 25.0)))
    assert faster.other == "openvino"
    assert faster.others is not None and faster.others.value == pytest.approx(1.25)


def test_a_faster_wrong_answer_does_not_count_and_is_shown_as_such() -> None:
    wrong = column("MNN", PEER, 1.0, error=1e-3)
    text = report([row(OURS, TOOL, wrong)], CONDITIONS)
    assert "~~1 (1 to 1)~~ **wrong**" in text and "**1.0e-03**" in text
    assert ratios_of(row(OURS, TOOL, wrong)).best == "OpenVINO"
    changing = column("MNN", PEER, 1.0, stable=False)
    assert ratios_of(row(OURS, TOOL, changing)).best == "OpenVINO"
    assert "changes from call to call" in report([row(OURS, changing)], CONDITIONS)


def test_a_missing_tool_is_named_with_its_reason() -> None:
    text = report([row(OURS, ABSENT)], CONDITIONS)
    assert "- TVM: it cannot be installed (all cells)" in text
    assert line_of(text).endswith("| 30 (30 to 30) | - | - | - |  |")


def test_each_cell_below_one_has_a_reason_or_is_called_unexplained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = tmp_path / "explained.json"
    explained.write_text("{}")
    monkeypatch.setattr(results.peers.report, "EXPLAINED", explained)
    slower = row(OURS, TOOL)
    assert line_of(report([slower], CONDITIONS)).endswith(f"inductor | {NO_REASON} |")
    explained.write_text(json.dumps({name_of(slower): "A person looked."}))
    assert line_of(report([slower], CONDITIONS)).endswith("| A person looked. |")
    assert name_of(slower) == "resnet50 fp32 b1, 2 threads"
    assert NO_REASON not in report([row(OURS, column("MNN", PEER, 40.0))], CONDITIONS)


def test_conditions_settings_and_the_roof_stand_beside_the_table() -> None:
    gflops = {"fp32": 150.4, "bf16": None, "int8": 900.0}
    roof = {"kind": ROOF, "threads": 2, "gflops": gflops, "copy_gb_s": 12.34, "extent": 2048}
    text = report([row(OURS, TOOL), roof], CONDITIONS)
    assert "`just bench-peers`: A, torch 2, commit c, 2026-01-01; 2 cores, governor x" in text
    assert "- OpenVINO 1: threads 2" in text
    assert "| 2 | 150 | - | 900 | 12.3 |" in text
    assert "What this machine" in report([roof], CONDITIONS)
