"""The file of a run: one JSON object a line, a line for each cell and for each roofline."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compile import machine
from results.corpus.table import commit, read
from results.peers.cells import key_of

RESULTS = Path(__file__).parents[1]
SOURCES = ("compile", "zoo", "runtime_cpp")
"""Rows hold as long as nothing changes below these."""
ROOF = "roofline"
"""The `kind` of a row that has no cell."""

Row = dict[str, Any]


@dataclass
class Table:
    """The rows of one file, and where the next one goes."""

    path: Path
    conditions: dict[str, Any]
    """What each row carries beside its findings: commit, torch and CPU."""
    rows: dict[tuple[str, ...], Row] = field(default_factory=dict)
    """Those of this commit, by their key; the last one counts."""

    @classmethod
    def newest(cls, folder: Path = RESULTS) -> Table:
        """The newest file of this CPU if it has rows of this commit; else the one of today."""
        cpu = machine.cpu_model()
        torch = machine.package_version("torch")
        conditions = {"commit": commit(SOURCES), "torch": torch, "cpu": cpu}
        stem = "-".join(["peers", *re.findall(r"[a-z0-9]+", cpu.lower())])
        today = folder / f"{stem}-{machine.now()[:10]}.jsonl"
        for path in sorted(folder.glob(f"{stem}-*.jsonl"), reverse=True)[:1]:
            rows = {row_key(row): row for row in read(path, conditions)}
            if rows or path == today:
                return cls(path=path, conditions=conditions, rows=rows)
        return cls(path=today, conditions=conditions)

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns."""
        row = {**row, **self.conditions}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[row_key(row)] = row


def row_key(row: Row) -> tuple[str, ...]:
    """What names a row."""
    return (ROOF, str(row["threads"])) if row.get("kind") == ROOF else key_of(row)
