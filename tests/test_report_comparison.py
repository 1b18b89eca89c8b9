"""zoo report on comparisons: of zoo compare --json, and in what --backend fastest prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compile.artifact.manifest import Manifest
from compile.errors import BadArtifact
from compile.page.evidence import collect
from compile.page.page import write_page
from compile.page.reading import read_document
from tests.support.manifests import base, put
from tests.support.page import Seen

ROOT = "artifacts/net-12345678"


def program(name: str, ms: float) -> dict[str, Any]:
    backend, precision, *_ = name.split("-")
    return {
        "artifact": f"{ROOT}/{name}",
        "backend": backend,
        "precision": precision,
        "batch": 1,
        "load_ms": 3.0,
        "latency_ms": {"median": ms, "median_interval": [0.99 * ms, 1.01 * ms], "n": 900},
        "ratio": None,
        "rounds_ms": [ms] * 11,
        "conditions": {"host": "vm", "cpu": "a CPU", "threads": 2},
        "verdict": "VALID",
        "reasons": [],
    }


def comparison() -> dict[str, Any]:
    programs = [program("torchscript-fp32-b1-cpu", 2.0), program("inductor-fp32-b1-cpu", 1.0)]
    return {"schema": "1.0", "kind": "comparison", "rounds": 11, "programs": programs}


def manifest(backend: str, level_db: float) -> Manifest:
    made = base()
    made.update(backend=backend, model={**made["model"], "name": "net"})
    put("parity/outputs/0/sqnr_db", level_db)(made)
    return made


def fastest() -> dict[str, Any]:
    manifests = {
        f"{ROOT}/torchscript-fp32-b1-cpu": manifest("torchscript", 130.0),
        f"{ROOT}/inductor-fp32-b1-cpu": manifest("torchscript", 120.0),
    }
    return {"kind": "fastest", "cells": [], "comparison": comparison(), "manifests": manifests}


def drawn(folder: Path, document: dict[str, Any]) -> Seen:
    file = folder / "report.json"
    file.write_text(json.dumps(document))
    write_page([file], folder / "page.html")
    return Seen((folder / "page.html").read_text())


def test_a_comparison_becomes_a_table(tmp_path: Path) -> None:
    seen = drawn(tmp_path, comparison())
    assert seen.faults == []
    table = seen.table(", batch 1, on")
    assert table.column("artifact") == ["inductor-fp32-b1-cpu", "torchscript-fp32-b1-cpu"]
    assert [float(each) for each in table.column("median")] == [1.0, 2.0]
    assert set(table.column("measured in")) == {"zoo-run"}


def test_what_the_fastest_was_chosen_by_is_drawn(tmp_path: Path) -> None:
    seen = drawn(tmp_path, fastest())
    assert seen.faults == []
    assert "Take inductor-fp32-b1-cpu: 1 ms, the fastest that is VALID and proved." in " ".join(
        seen.texts["p"]
    )
    (picture,) = [text for text in seen.texts["desc"] if "error" in text and "MB" in text]
    assert "inductor-fp32-b1-cpu: 1 ms, error 1.0e-06" in picture
    assert "torchscript-fp32-b1-cpu: 2 ms, error 3.2e-07" in picture


def test_its_manifests_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    document = fastest()
    evidence = collect([(file.write_text(json.dumps(document)), read_document(file))[1]])
    assert len(evidence.manifests) == 2 and len(evidence.measured) == 2
    document["manifests"][f"{ROOT}/inductor-fp32-b1-cpu"]["status"] = "splendid"
    file.write_text(json.dumps(document))
    with pytest.raises(BadArtifact, match="status must be"):
        read_document(file)
    document["manifests"] = {"a\x00b": base()}
    file.write_text(json.dumps(document))
    with pytest.raises(BadArtifact, match="JSON, but not a report or manifest of zoo"):
        read_document(file)
