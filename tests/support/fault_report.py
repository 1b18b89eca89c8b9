"""A plugin for pytest that writes down what became of each planted fault: `just faults` loads it.

results/faults-<cpu>-<date>.md says on which machine, with which versions, which gate caught each
fault in which backend, and how far beyond its bound the output was.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parents[2] / "results"

SHORT = {
    "constants": "C",
    "bound": "B",
    "another class": "K",
    "non-finite outputs": "N",
    "no clear sample": "U",
    "fp32 before the cast": "F",
    "the build": "refused",
}
"""Gate -> how the table names it."""


class Report:
    """Collects what the tests recorded and writes it at the end."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.start = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what the call recorded."""
        if report.when == "call" or not report.passed:
            self.counts[report.outcome] += 1
        if report.when == "call":
            self.rows += [value for name, value in report.user_properties if name == "fault"]

    def pytest_sessionfinish(self) -> None:
        """Write the file, if anything was planted."""
        from compile import machine

        if not self.rows:
            return
        found: dict[str, Any] = machine.conditions()
        cpu = re.sub(r"[^a-z0-9]+", "-", str(found["cpu"]).lower()).strip("-")
        path = RESULTS / f"faults-{cpu}-{found['date'][:10]}.md"
        path.write_text(document(found, self.rows, self.counts, time.monotonic() - self.start))
        print(f"\nwrote {path.relative_to(RESULTS.parent)}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Report(), "fault-report")


def document(
    found: dict[str, Any], rows: list[dict[str, Any]], counts: dict[str, int], seconds: float
) -> str:
    """Conditions, counts, and a table for each precision: faults down, backends across."""
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    lines = [f"# Planted faults, {found['date'][:10]}", ""]
    lines += [f"{said} in {seconds:.0f} s. {_conditions(found)}", ""]
    lines += [
        "Each cell: the largest rmse / bound of the outputs in Python and in zoo-run, then what "
        "caught it: C constants, B bound, K class, z: zoo-run as well; `refused` if the build "
        "itself broke; **published** if nothing did. Network: the SmallNet of the tests, "
        "2x8x8, batch 1; planted between folding and the backend.",
    ]
    for precision in dict.fromkeys(row["precision"] for row in rows):
        chosen = [row for row in rows if row["precision"] == precision]
        lines += ["", *_table(precision, chosen)]
    return "\n".join(lines) + "\n"


def _conditions(found: dict[str, Any]) -> str:
    from compile import machine

    versions = machine.versions("onnx", "onnxsim", "onnxruntime", "openvino", "torchao")
    listed = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"{found['cpu']}, {listed}, commit {found['commit']}."


def _table(precision: str, rows: list[dict[str, Any]]) -> list[str]:
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    cells = {(row["fault"], row["backend"]): _cell(row) for row in rows}
    lines = [f"| {precision} | {' | '.join(backends)} |", "|---" * (len(backends) + 1) + "|"]
    for fault in dict.fromkeys(row["fault"] for row in rows):
        found = " | ".join(cells.get((fault, name), "not run") for name in backends)
        lines.append(f"| {fault} | {found} |")
    return lines


def _cell(row: dict[str, Any]) -> str:
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g} "
    if row["by"] == "-":
        return f"{ratio}**published**"
    gates = dict.fromkeys(SHORT.get(name, name) for name in row["by"].split(", "))
    places = {"z" for name in gates if name.startswith("zoo-run")}
    kept = [name for name in gates if not name.startswith("zoo-run")]
    return f"{ratio}{' '.join([*kept, *places])}"
