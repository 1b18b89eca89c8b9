"""The file of a corpus run: one JSON object a line, written to disk row by row."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compile import machine
from results.corpus.jobs import key_of

RESULTS = Path(__file__).parents[1]
SOURCES = ("compile", "zoo")
"""Rows hold as long as nothing changes below these."""


@dataclass
class Table:
    """The rows of one file, and where the next one goes."""

    path: Path
    conditions: dict[str, Any]
    """What each row carries beside its findings: commit, torch and CPU."""
    rows: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    """Those of this commit, by their key; the last one counts."""

    @classmethod
    def newest(cls, folder: Path = RESULTS) -> Table:
        """The newest file of this CPU if it has rows of this commit; else the one of today."""
        torch, cpu = machine.package_version("torch"), machine.cpu_model()
        conditions = {"commit": commit(), "torch": torch, "cpu": cpu}
        cpu = "-".join(re.findall(r"[a-z0-9]+", cpu.lower()))
        today = folder / f"corpus-{cpu}-{machine.now()[:10]}.jsonl"
        for path in sorted(folder.glob(f"corpus-{cpu}-*.jsonl"), reverse=True)[:1]:
            rows = read(path, conditions)
            if rows or path == today:
                return cls(path=path, conditions=conditions, rows=rows)
        return cls(path=today, conditions=conditions)

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; it is on the disk when this returns."""
        row = {**row, **self.conditions}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[key_of(row)] = row


def read(path: Path, conditions: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows that were measured under these conditions; a line that was cut off is left out."""
    rows = {}
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if conditions.items() <= row.items():
            rows[key_of(row)] = row
    return rows


def commit() -> str:
    """The last commit of SOURCES, with `-dirty` where they have changed since."""
    last = _git("log", "-1", "--format=%h", "--", *SOURCES).strip()
    return last + ("-dirty" if _git("status", "--porcelain", "--", *SOURCES).strip() else "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(RESULTS.parent), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
