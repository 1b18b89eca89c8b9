"""Prove and measure every artifact of ResNet-50 that stands below artifacts/, and write the table.

`just table-resnet50` builds them first. A measurement that is INVALID is taken again, once at
most. The table holds the VALID ones; the file in results/ names the others too. The README shows
the same table between two marks.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo

ROOT = Path(__file__).resolve().parent.parent
TRIES = 2
SECONDS = 5.0
COMMAND = "just table-resnet50"
_MARKED = re.compile(r"(?<=<!-- resnet50 -->\n).*?(?=<!-- resnet50 ends -->\n)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One artifact, proved, and measured until that was VALID or too often not."""

    artifact: str
    """The name of its folder."""
    megabytes: float
    error: float
    """The largest error of a golden sample over its bound; at most 1 passes."""
    passed: bool
    ran_in: str
    """`zoo-run`, or `Python` where zoo-run has no engine for it."""
    report: dict[str, Any]
    """Of that place, as `zoo bench --json` has it."""


def measure(path: Path) -> Measured:
    """Prove one artifact and measure it for SECONDS, again while that is INVALID."""
    rows = zoo.check(path)
    manifest = json.loads((path / "manifest.json").read_text())
    programs = {program["file"] for program in manifest["programs"]}
    for attempt in range(TRIES):
        reports = zoo.bench(path, duration=SECONDS)
        report = reports["runner"] or reports["python"]
        print(f"{path.name}, attempt {attempt + 1}: {report['verdict']}", file=sys.stderr)
        if report["verdict"] == "VALID":
            break
    return Measured(
        artifact=path.name,
        megabytes=sum(manifest["files"][name]["size"] for name in programs) / 1e6,
        error=max(row.ratio for row in rows),
        passed=all(row.verdict == "PASSED" for row in rows),
        ran_in="zoo-run" if reports["runner"] else "Python",
        report=report,
    )


def is_valid(measured: Measured) -> bool:
    """Whether it may stand in the table."""
    return measured.passed and measured.report["verdict"] == "VALID"


def table(all_measured: list[Measured]) -> str:
    """A Markdown table of the valid ones, the fastest first, with their conditions below."""
    valid = sorted(filter(is_valid, all_measured), key=_median)
    if not valid:
        return "No measurement was VALID.\n"
    lines = [
        "| backend | precision | median, ms | p90 | images/s | MB | error/bound | measured in |"
    ]
    lines += ["|---|---|---:|---:|---:|---:|---:|---|"]
    lines += [_row(measured) for measured in valid]
    conditions = valid[0].report["conditions"]
    threads = conditions.get("threads", conditions.get("cores"))
    versions = conditions.get("versions", {})
    torch = versions.get("torch", conditions.get("torch"))
    lines += [
        "",
        f"`{COMMAND}` on {conditions['date'][:10]}: {conditions['cpu']}, {threads} threads, torch "
        f"{torch}, commit {str(conditions.get('commit'))[:7]};",
        f"seeded weights, 3x224x224, batch 1, at least {SECONDS:.0f} s each.",
        "Median: with its 95 % interval. Error/bound: at most 1 passes.",
    ]
    return "\n".join(lines) + "\n"


def _median(measured: Measured) -> float:
    return float(measured.report["latency_ms"]["median"])


def _row(measured: Measured) -> str:
    latency = measured.report["latency_ms"]
    low, high = latency["median_interval"]
    spread = 50 * (high - low) / latency["median"]
    p90 = "-" if latency["p90"] is None else f"{latency['p90']:.1f}"
    cells = (
        measured.report["backend"],
        measured.report["precision"],
        f"{latency['median']:.1f} +-{spread:.1f} %",
        p90,
        f"{measured.report['throughput_per_s']:.1f}",
        f"{measured.megabytes:.1f}",
        f"{measured.error:.2f}",
        measured.ran_in,
    )
    return f"| {' | '.join(cells)} |"


def left_out(all_measured: list[Measured]) -> str:
    """Why each of the others is not in the table, as Markdown; "" where none was left out."""
    lines = []
    for measured in all_measured:
        if not is_valid(measured):
            reasons = measured.report["reasons"] if measured.passed else ["it failed its proof"]
            lines.append(f"- {measured.artifact}: {'; '.join(reasons)}")
    return "\n".join(["", "Not in the table:", "", *lines, ""]) if lines else ""


def put_into(readme: str, new: str) -> str:
    """The text of the README with `new` between its two marks."""
    assert len(_MARKED.findall(readme)) == 1
    return _MARKED.sub(lambda _: new, readme)


def main() -> None:
    """Measure the newest ResNet-50 below artifacts/; write results/ and the README."""
    folders = sorted(Path("artifacts").glob("resnet50-*"), key=lambda path: path.stat().st_mtime)
    if not folders:
        sys.exit(f"no ResNet-50 below artifacts/; run `{COMMAND}`")
    paths = sorted(path.parent for path in folders[-1].glob("*/manifest.json"))
    all_measured = [measure(path) for path in paths]
    made = table(all_measured)
    conditions = all_measured[0].report["conditions"]
    cpu = "-".join(re.findall(r"[a-z0-9]+", conditions["cpu"].lower()))
    name = f"resnet50-{cpu}-{conditions['date'][:10]}.md"
    title = "# ResNet-50 at 224x224 in every backend that this machine can build\n\n"
    (ROOT / "results" / name).write_text(title + made + left_out(all_measured))
    readme = ROOT / "README.md"
    readme.write_text(put_into(readme.read_text(), made))
    print(f"results/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
