"""The table of zoo bench: the fastest first, a verdict for each figure, and which one to take."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from compile.artifact.manifest import Manifest
from tests.support.layout import ROOT
from tests.support.manifests import base
from zoo.cli.bench import bench_table, compared, to_take
from zoo.cli.labels import batch_of

DATA = ROOT / "tests" / "data" / "page"


@pytest.fixture
def reports() -> list[dict[str, Any]]:
    """Of a real `zoo bench --json`, the slowest first."""
    found = json.loads((DATA / "bench.json").read_text())["reports"]
    found = [each for each in found if each["artifact"].endswith("-3x32x32")]
    return sorted(found, key=lambda each: -median(each))


def median(report: dict[str, Any]) -> float:
    """That of zoo-run, or Python's without it."""
    return float((report["runner"] or report["python"])["latency_ms"]["median"])


def manifests(reports: list[dict[str, Any]]) -> dict[str, Manifest]:
    """Such as these artifacts may have had."""
    found = {}
    for report in reports:
        path, manifest = Path(report["artifact"]), base()
        manifest.update(
            backend=report["python"]["backend"], precision=report["python"]["precision"]
        )
        manifest["programs"][0]["batch"] = [1, 1]
        found[f"{path.parent.name}/{path.name}"] = manifest
    return found


def printed(reports: list[dict[str, Any]]) -> list[str]:
    console = Console(width=80, record=True, file=io.StringIO())
    for line in bench_table(reports, manifests(reports)):
        console.print(line, markup=False, highlight=False)
    return console.export_text().splitlines()


def test_the_fastest_stands_first(reports: list[dict[str, Any]]) -> None:
    _, (group,) = compared(reports, manifests(reports))
    assert [row.median for row in group.rows] == sorted(map(median, reports))
    lines = printed(reports)
    names = [line.split()[0] for line in lines if line.split()[1:] and line[0].isalpha()]
    backends = [name for name in names if name in {r["python"]["backend"] for r in reports}]
    assert backends == [row.backend for row in group.rows]


def test_each_figure_has_a_verdict(reports: list[dict[str, Any]]) -> None:
    text = "\n".join(printed(reports))
    figures = [report[place] for report in reports for place in ("runner", "python")]
    told = [each["verdict"] for each in figures if each]
    table, _, notes = text.partition("first: the first call")
    assert table.count("VALID") == len(told)
    assert notes.count("INVALID ") == table.count("INVALID") == told.count("INVALID")
    doubtful = copy.deepcopy(reports)
    doubtful[0]["python"].update(verdict="INVALID", reasons=["the clocks differ by +3.0 %"])
    more = "\n".join(printed(doubtful))
    assert more.partition("first: the first call")[0].count("INVALID") == told.count("INVALID") + 1
    assert "(python): the clocks differ by +3.0 %" in " ".join(more.split())


def test_the_last_line_says_which_to_take(reports: list[dict[str, Any]]) -> None:
    evidence, (group,) = compared(reports, manifests(reports))
    best = next(row for row in group.rows if row.valid)
    said = " ".join(" ".join(printed(reports)).split())
    assert f"Take {best.leaf}: {best.median:.3g} ms, the fastest that is VALID and proved." in said
    (eager,) = (row for row in group.rows if (row.backend, row.precision) == ("eager", "fp32"))
    times = group.times_eager(best)
    assert times == pytest.approx(eager.median / best.median)
    assert f" {times:.2f} " in said
    assert all(evidence.is_proved(row.artifact) for row in group.rows)
    assert "Take " not in " ".join(printed(reports[:1])), "one alone leaves no choice"


def test_the_next_command_is_about_the_one_to_take(reports: list[dict[str, Any]]) -> None:
    _, (group,) = compared(reports, manifests(reports))
    best = next(row for row in group.rows if row.valid)
    taken = to_take(reports, manifests(reports))
    assert Path(taken).name == best.leaf and taken != reports[0]["artifact"]
    for report in reports:
        for place in ("runner", "python"):
            if report[place]:
                report[place]["verdict"] = "INVALID"
    assert to_take(reports, manifests(reports)) == reports[0]["artifact"]


def test_lines_fit_the_terminal(reports: list[dict[str, Any]]) -> None:
    assert max(len(line.rstrip()) for line in printed(reports)) <= 80


def test_a_label_has_the_range_of_batches() -> None:
    manifest = base()
    manifest["programs"] = [{"file": "a", "batch": [1, 1]}, {"file": "b", "batch": [1, 64]}]
    assert batch_of(manifest, 8) == "b8 of 1-64"
    manifest["programs"] = [{"file": "a", "batch": [4, 4]}]
    assert batch_of(manifest, 4) == "b4"
