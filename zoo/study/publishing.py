"""The files of a study: its report, its table, its curves, and the picture drawn from them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from compile.files import write_atomic
from compile.machine import conditions
from zoo.errors import BadArtifact
from zoo.study import find_study
from zoo.study.curves import from_csv, to_csv
from zoo.study.drawing import as_svg
from zoo.study.lab import Findings

CURVES, PICTURE = "curves.csv", "figure.svg"
_MOST_ROWS = 60
"""Longer tables are not repeated in report.md."""


def publish(findings: Findings, name: str, folder: Path) -> list[Path]:
    """Write table.csv, report.json, report.md, curves.csv and figure.svg. Returns their paths."""
    files: dict[str, bytes] = {}
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(findings.columns)
    writer.writerows(findings.rows)
    files["table.csv"] = table.getvalue().encode()
    here = conditions() | {"threads": torch.get_num_threads()}
    plain = {
        "study": name,
        "title": findings.title,
        "setting": findings.setting,
        "claims": [asdict(claim) for claim in findings.claims],
        "columns": findings.columns,
        "rows": findings.rows,
        "conditions": here,
    }
    files["report.json"] = (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode()
    files["report.md"] = _markdown(findings, here).encode()
    files[CURVES] = to_csv(findings.curves).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        write_atomic(folder / file, content)
    return [*(folder / file for file in files), redraw(name, folder)]


def redraw(name: str, folder: Path) -> Path:
    """Draw the picture of the study `name` from the curves in `folder`. Returns its path.

    Raises UsageError for an unknown study, and BadArtifact if the curves are missing, damaged or
    those of another study.
    """
    study, path = find_study(name), folder / CURVES
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise BadArtifact(f"cannot read {path}; `zoo study {name}` writes its curves") from None
    curves = from_csv(text, str(path))
    try:
        figure = study.draw(curves)
    except LookupError:
        raise BadArtifact(f"{path} does not have the curves of `zoo study {name}`") from None
    write_atomic(folder / PICTURE, as_svg(figure, name))
    return folder / PICTURE


def _markdown(findings: Findings, here: dict[str, Any]) -> str:
    lines = [f"# {findings.title}", "", findings.setting, ""]
    for claim in findings.claims:
        lines += [f"- **{claim.verdict}**: {claim.paper}", f"  Measured: {claim.measured}"]
    lines += ["", f"![]({PICTURE})", ""]
    if len(findings.rows) <= _MOST_ROWS:
        lines += ["| " + " | ".join(findings.columns) + " |", "|" + "---|" * len(findings.columns)]
        lines += ["| " + " | ".join(map(str, row)) + " |" for row in findings.rows]
    else:
        lines += [f"The {len(findings.rows):,} figures are in table.csv."]
    threads = f"{here['threads']} thread" + "s" * (here["threads"] > 1)
    lines += [
        "",
        f"{here['cpu']}, {threads}, torch {here['versions'].get('torch')}, "
        f"commit {here['commit']}, {here['date']}",
    ]
    return "\n".join(lines) + "\n"
