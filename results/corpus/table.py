"""The file of a corpus run: one JSON object a line, written to disk row by row."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from compile import machine
from results.corpus.jobs import key_of, networks

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
        today = folder / f"{_stem(cpu)}-{machine.now()[:10]}.jsonl"
        for path in _files(folder, cpu)[:1]:
            rows = {key_of(row): row for row in read(path, conditions)}
            if rows or path == today:
                return cls(path=path, conditions=conditions, rows=rows)
        return cls(path=today, conditions=conditions)

    def reported(self) -> Table:
        """The newest row of each key, whatever its commit; the report says which these are.

        Rows of networks that the corpus no longer has are left out.
        """
        files = _files(self.path.parent, self.conditions["cpu"])
        here = {name: self.conditions[name] for name in ("torch", "cpu")}
        known = cache(networks)
        rows = {
            key_of(row): row
            for path in reversed(files)
            for row in read(path, here)
            if row["network"] in known(row["part"], row["seed"])
        }
        path = self.path if self.rows or not files else files[0]
        return Table(path=path, conditions=self.conditions, rows=rows)

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; it is on the disk when this returns."""
        row = {**row, **self.conditions}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[key_of(row)] = row


def read(path: Path, conditions: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that were measured under these conditions, the newest last."""
    return [row for row in _lines(path) if conditions.items() <= row.items()]


def _lines(path: Path) -> list[dict[str, Any]]:
    """All rows of a file; a line that was cut off is left out."""
    rows = []
    for line in path.read_text().splitlines():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def _files(folder: Path, cpu: str) -> list[Path]:
    """The files of this CPU, the newest first."""
    return sorted(folder.glob(f"{_stem(cpu)}-*.jsonl"), reverse=True)


def _stem(cpu: str) -> str:
    return "-".join(["corpus", *re.findall(r"[a-z0-9]+", cpu.lower())])


def commit(sources: Sequence[str] = SOURCES) -> str:
    """The last commit of `sources`, with `-dirty` where they have changed since."""
    last = _git("log", "-1", "--format=%h", "--", *sources).strip()
    return last + ("-dirty" if _git("status", "--porcelain", "--", *sources).strip() else "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(RESULTS.parent), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
