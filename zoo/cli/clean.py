"""zoo clean: remove what is not needed any more."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.cli.command import Command
from zoo.cli.options import ArtifactsOption, JsonOption, RunsOption

BESIDE = ("parity-{}.json", "proof-{}.json", "bisect-{}.png")
"""What checks of an artifact leave beside its folder."""


@dataclass(frozen=True, kw_only=True)
class Clean(RunsOption, ArtifactsOption, JsonOption, Command):
    """Remove what killed commands left behind."""

    all_artifacts: bool = False
    """Also remove all artifacts."""
    all_runs: bool = False
    """Also remove all finished runs."""
    unfinished: bool = False
    """Also remove unfinished runs, which could be resumed."""

    def run(self) -> None:
        """Remove the folders and files, and print which."""
        from compile.report import show, to_json
        from zoo.runs.draft import leftovers

        folders, files = self._folders(), leftovers(self.runs)
        for folder in folders:
            shutil.rmtree(folder)
            for beside in BESIDE:
                folder.with_name(beside.format(folder.name)).unlink(missing_ok=True)
            with suppress(OSError):  # other artifacts or runs are there
                folder.parent.rmdir()
        for file in files:
            file.unlink()
        removed = [str(path) for path in (*folders, *files)]
        if self.json:
            print(to_json({"removed": removed}), end="")
            return
        show(
            *(f"removed {path}" for path in removed),
            f"{len(folders)} folders and {len(files)} files removed",
            "next: zoo list",
        )

    def _folders(self) -> list[Path]:
        """The folders that the options doom."""
        from compile.artifact.publishing import find_artifacts, stale_stagings
        from zoo.runs.draft import stale_drafts
        from zoo.runs.folders import list_runs

        doomed = [*stale_stagings(self.out), *stale_drafts(self.runs, resumable=self.unfinished)]
        if self.all_artifacts:
            doomed += [path for path in find_artifacts(self.out) if list(path.glob("manifest.*"))]
        if self.all_runs:
            doomed += list_runs(self.runs)
        return doomed
