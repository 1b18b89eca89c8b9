"""zoo check: prove artifacts again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from zoo.cli.check_tables import check_table
from zoo.cli.command import Command
from zoo.cli.labels import traits
from zoo.cli.options import (
    ArtifactsArgument,
    ArtifactsOption,
    QuietOption,
    RunnerOption,
    RunsOption,
    ThreadsOption,
    set_threads,
)
from zoo.cli.selecting import TestSets, can_bisect, raise_worst, ready_runner, select
from zoo.cli.tables import StageLine
from zoo.errors import CheckFailed, ZooError

if TYPE_CHECKING:
    from compile.artifact.manifest import Manifest
    from compile.proof.check import Row


@dataclass(frozen=True, kw_only=True)
class Check(
    ArtifactsArgument,
    RunsOption,
    ArtifactsOption,
    RunnerOption,
    ThreadsOption,
    QuietOption,
    Command,
):
    """Prove artifacts again, in Python and in zoo-run."""

    images: Annotated[int, Option(min=1, max=100_000)] = 4000
    """Use at most this many test images, evenly spaced."""
    calls: Annotated[
        int | None, Option(min=1, max=10**6, show_default="as measured when it was built")
    ] = None
    """Calls that show whether the same input always gives the same bits."""

    def run(self) -> None:
        """Print a row for each program and place. Raises CheckFailed if one fails."""
        from compile.report import show, to_json

        set_threads(self.threads)
        paths = select(self.what, self.out, everything=self.all_)
        runner = ready_runner(self.runner)
        checked = self._check(paths, runner)
        if self.json:
            document = {
                "rows": [asdict(row) for row in checked.rows],
                "no_data": checked.no_data,
                "errors": list(map(str, checked.errors)),
            }
            print(to_json(document), end="")
        elif checked.rows:
            special = traits(checked.manifests)
            show(*check_table(checked.rows, runner, checked.no_data, special))
        raise_worst([*checked.errors, *checked.failures()])
        if not self.json:
            show(self.next_line("bench", *self.asked()))

    def _check(self, paths: list[Path], runner: Path | None) -> _Checked:
        from compile.artifact.manifest import read_manifest
        from compile.proof.check import check_artifact

        test_sets = TestSets(self.runs, self.images)
        checked = _Checked()
        with StageLine(quiet=self.quiet or self.json) as tell:
            for path in paths:
                name = f"{path.parent.name}/{path.name}"
                tell(f"checking {name}")
                try:
                    data = test_sets.of(path)
                    if isinstance(data, str):
                        checked.no_data[name] = data
                    images = None if isinstance(data, str) else data
                    rows = check_artifact(
                        path, runner, images, threads=self.threads, calls=self.calls
                    )
                    checked.rows += rows
                    checked.manifests[name] = read_manifest(path)
                    if any(row.reasons and row.ran_in != "zoo-run" for row in rows):
                        checked.wrong_in_python.append(path)
                except ZooError as error:
                    checked.errors.append(error)
        return checked


@dataclass(kw_only=True)
class _Checked:
    """What the checks of some artifacts gave."""

    rows: list[Row] = field(default_factory=list)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    """By the artifact's name."""
    no_data: dict[str, str] = field(default_factory=dict)
    """Artifact -> why there are no test images for it."""
    errors: list[ZooError] = field(default_factory=list)
    """What kept artifacts from being checked."""
    wrong_in_python: list[Path] = field(default_factory=list)

    def failures(self) -> list[CheckFailed]:
        """The rows that failed, as one error; empty if none did."""
        failed = [row for row in self.rows if row.reasons]
        if not failed:
            return []
        reasons = (f"{row.artifact} in {row.ran_in}: {'; '.join(row.reasons)}" for row in failed)
        count = f"{len(failed)} of {len(self.rows)} rows"
        return [
            CheckFailed(f"{count}: {'. '.join(reasons)}; {_after_failure(self.wrong_in_python)}")
        ]


def _after_failure(wrong_in_python: Iterable[Path]) -> str:
    """What to run next; `zoo bisect` if it can look into one: it runs in Python alone."""
    from compile.artifact.manifest import read_manifest

    for path in wrong_in_python:
        if can_bisect(read_manifest(path)):
            return f"`{shlex.join(['zoo', 'bisect', str(path)])}` names the layer"
    return "build again what failed with `zoo compile --force`"
