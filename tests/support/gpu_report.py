"""A plugin for pytest that writes down what ran on a GPU: `just gpu-tests` loads it.

results/gpu-<gpu>-<date>.md says on which machine, with which versions, and what passed, failed or
was skipped for which reason. Without a GPU nothing is written: skips are no result.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parents[2] / "results"


@dataclass(frozen=True)
class Row:
    """One test and how it ended."""

    name: str
    outcome: str
    seconds: float
    reason: str


class Report:
    """Collects the rows while the tests run and writes them at the end."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the phase that decides: the call, or the set-up or clean-up that did not pass."""
        if report.when != "call" and report.passed:
            return
        self.rows[report.nodeid] = Row(
            report.nodeid, report.outcome, report.duration, reason_of(report)
        )

    def pytest_sessionfinish(self) -> None:
        """Write the file, if there was a GPU and a test."""
        found = conditions()
        if found is None or not self.rows:
            print("\nno results file: no GPU here, or no test ran")
            return
        gpu = re.sub(r"[^a-z0-9]+", "-", found["GPU"].lower()).strip("-")
        path = RESULTS / f"gpu-{gpu}-{found['date'][:10]}.md"
        path.write_text(document(found, list(self.rows.values())))
        print(f"\nwrote {path.relative_to(RESULTS.parent)}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Report(), "gpu-report")


def reason_of(report: pytest.TestReport) -> str:
    """Why a test was skipped or failed, in one line; empty for one that passed."""
    if report.passed:
        return ""
    if report.skipped and isinstance(report.longrepr, tuple):
        return one_line(str(report.longrepr[2]).removeprefix("Skipped: "))
    crash = getattr(report.longrepr, "reprcrash", None)
    return one_line(crash.message if crash is not None else str(report.longrepr))


def one_line(text: str) -> str:
    """The first line, fit for a cell of a table."""
    return next(iter(text.strip().splitlines()), "").replace("|", "\\|")[:200]


def conditions() -> dict[str, str] | None:
    """The machine and its versions, or None if torch sees no GPU."""
    import torch

    from compile import machine

    if not torch.cuda.is_available():
        return None
    known: dict[str, Any] = machine.conditions()
    packages = machine.versions("torch-tensorrt", "tensorrt", "onnx", "torchao")
    return {
        "GPU": torch.cuda.get_device_name(),
        "architecture": "sm_{}{}".format(*torch.cuda.get_device_capability()),
        "driver": driver(),
        "CUDA of torch": str(torch.version.cuda),
        "CPU": known["cpu"],
        "versions": ", ".join(f"{name} {number}" for name, number in packages.items()),
        "commit": str(known["commit"]),
        "date": known["date"],
    }


def driver() -> str:
    """The driver's version, as nvidia-smi has it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return one_line(done.stdout) or "unknown"


def document(found: dict[str, str], rows: list[Row]) -> str:
    """The file: conditions, counts, and one line for each test, failures first."""
    order = {"failed": 0, "skipped": 1, "passed": 2}
    counts = [f"{sum(row.outcome == kind for row in rows)} {kind}" for kind in reversed(order)]
    lines = [f"# GPU tests on {found['GPU']}, {found['date'][:10]}", "", ", ".join(counts), ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in found.items())]
    lines += ["", "| test | outcome | s | reason |", "|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (order.get(row.outcome, 0), row.name)):
        name = row.name.replace("|", "\\|")
        lines.append(f"| {name} | {row.outcome} | {row.seconds:.1f} | {row.reason} |")
    return "\n".join(lines) + "\n"
