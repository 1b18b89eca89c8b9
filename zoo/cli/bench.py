"""zoo bench: how fast artifacts are, in zoo-run and in Python."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from compile.measure.defaults import DURATION_S, ITERATIONS
from compile.report import short, table
from zoo.cli.command import Command
from zoo.cli.labels import batch_of, broken, traits
from zoo.cli.options import (
    ArtifactsArgument,
    ArtifactsOption,
    QuietOption,
    RunnerOption,
    SeedOption,
    ThreadsOption,
)
from zoo.cli.selecting import only_one, raise_worst, ready_runner, select
from zoo.cli.tables import StageLine, counted, wrapped
from zoo.errors import UsageError, ZooError

if TYPE_CHECKING:
    from compile.artifact.manifest import Manifest
    from compile.page.choosing import Group
    from compile.page.evidence import Evidence

_LABEL_WIDTH = 14


@dataclass(frozen=True, kw_only=True)
class Bench(
    ArtifactsArgument,
    ArtifactsOption,
    RunnerOption,
    ThreadsOption,
    SeedOption,
    QuietOption,
    Command,
):
    """Measure artifacts with zoo-run, and the same files from Python."""

    duration: Annotated[
        float | None, Option(min=0.001, max=3600, show_default=f"{DURATION_S:g}")
    ] = None
    """Measure for at least this many seconds."""
    iterations: Annotated[int | None, Option(min=1, max=10**6, show_default=str(ITERATIONS))] = None
    """Measure at least this many calls."""
    sweep: tuple[str, ...] = ()
    """Measure one artifact with zoo-run in every combination of batch, threads and streams, such
    as "batch=1,8 threads=1,2". Can be given several times. --seed sets the random order."""

    profile: Path | None = None
    """Profile one artifact: list the time of each operator, and write a trace to this file for
    chrome://tracing or Perfetto. --iterations sets the number of calls (10)."""

    def run(self) -> None:
        """Print a row for each artifact, for each setting of a sweep, or for each operator."""
        if self.seed and not self.sweep:
            raise UsageError("--seed is for the order of a --sweep; leave it out")
        if self.profile is not None:
            self._profile(self.profile)
        elif self.sweep:
            self._sweep()
        else:
            self._measure()

    def _profile(self, trace: Path) -> None:
        """Print a row for each operator of one artifact."""
        from compile.measure.profile import CALLS, profile
        from compile.report import show, to_json
        from zoo.cli.profile_table import profile_table

        if self.sweep or self.duration is not None:
            wrong = "--sweep" if self.sweep else "--duration"
            raise UsageError(f"--profile measures nothing, so {wrong} has no effect; leave it out")
        path = only_one(select(self.what, self.out, everything=self.all_), "--profile")
        with StageLine(quiet=self.quiet or self.json) as tell:
            tell(f"profiling {path.parent.name}/{path.name}")
            calls = self.iterations or CALLS
            report = profile(path, trace, calls=calls, threads=self.threads)
        if self.json:
            print(to_json(report), end="")
            return
        show(*profile_table(report))
        show(f"next: open {trace} in chrome://tracing or at ui.perfetto.dev")

    def _sweep(self) -> None:
        """Print a row for each setting of one artifact."""
        from compile.measure.settings import parse_sweep
        from compile.measure.sweep import sweep
        from compile.report import show, to_json
        from zoo.cli.sweep_table import sweep_table

        values = parse_sweep(self.sweep)
        path = only_one(select(self.what, self.out, everything=self.all_), "--sweep")
        with StageLine(quiet=self.quiet or self.json) as tell:
            report = sweep(
                path,
                ready_runner(self.runner),
                values,
                duration=self.duration,
                iterations=self.iterations,
                threads=self.threads,
                seed=self.seed,
                tell=tell,
            )
        if self.json:
            print(to_json(report), end="")
            return
        show(*sweep_table(report))
        show(
            "next: to draw it, run this again with --json > sweep.json, then zoo report sweep.json"
        )

    def _measure(self) -> None:
        """Print a row for each artifact."""
        from compile.artifact.manifest import read_manifest
        from compile.measure.bench import bench
        from compile.report import show, to_json

        paths = select(self.what, self.out, everything=self.all_)
        runner = ready_runner(self.runner)
        reports: list[dict[str, Any]] = []
        manifests: dict[str, Manifest] = {}
        errors: list[ZooError] = []
        with StageLine(quiet=self.quiet or self.json) as tell:
            for path in paths:
                name = f"{path.parent.name}/{path.name}"
                tell(f"measuring {name}")
                try:
                    report = bench(
                        path,
                        runner,
                        duration=self.duration,
                        iterations=self.iterations,
                        threads=self.threads,
                    )
                    manifests[name] = read_manifest(path)
                    reports.append(report)
                except ZooError as error:
                    errors.append(error)
        if self.json:
            print(to_json({"reports": reports, "errors": list(map(str, errors))}), end="")
        elif reports:
            show(*bench_table(reports, manifests))
        raise_worst(errors)
        if not self.json:
            show(shlex.join(["next:", "zoo", "inspect", to_take(reports, manifests)]))


def bench_table(reports: list[dict[str, Any]], manifests: dict[str, Manifest]) -> list[Any]:
    """A row for each artifact, the fastest first: what zoo-run measured, and the median in Python.
    Then which one to take, and notes.

    `manifests` are those of the artifacts, in the order of the reports.
    """
    evidence, groups = compared(reports, manifests)
    special = traits(manifests)
    named = {
        id(report["runner"] or report["python"]): (report, manifest, special[name])
        for report, (name, manifest) in zip(reports, manifests.items(), strict=True)
    }
    rows = [
        _bench_row(*named[id(row.report)], group.times_eager(row))
        for group in groups
        for row in group.rows
        if id(row.report) in named
    ]
    columns = (
        *("artifact", "load ms\nfirst", "median\nms", "p90\nms", "p99\nms", "per s"),
        *("peak\nMB", "file\nMB", "x\neager", "Python\nms"),
    )
    lines: list[Any] = [table(columns, rows, left=("artifact",))]
    doubts = [
        f"{Path(report['artifact']).name} ({place}): {', '.join(report[place]['reasons'])}"
        for report in reports
        for place in ("runner", "python")
        if report[place] and report[place]["reasons"]
    ]
    conditions = next(r["runner"] or r["python"] for r in reports)["conditions"]
    here = reports[0]["python"]["conditions"]
    allocator, others = allocators(reports)
    facts = (
        f"{here['cpu']}, {counted([here['threads']], 'thread')}, {here['level']}, torch "
        f"{here['versions'].get('torch')}, allocator {allocator} (in both{others}), "
        f"commit {conditions.get('commit') or here['commit']}, {here['date']}"
    )
    notes = [
        "first: the first call; median: with its 95 % interval and verdict; Python: the median of "
        "the same file in Python; x eager: eager's median in Python over this one; -: too few "
        "samples for it, no VALID eager, or zoo-run has no engine for the backend",
        *(f"INVALID {doubt}" for doubt in doubts),
        facts,
    ]
    return [*lines, *wrapped([*notes, *_advice(groups, evidence)])]


def to_take(reports: list[dict[str, Any]], manifests: dict[str, Manifest]) -> str:
    """The path of the artifact to take of the first group; of the first artifact if none is."""
    from compile.page.choosing import choice

    evidence, groups = compared(reports, manifests)
    best = choice(groups[0], evidence)
    found = (
        report["artifact"]
        for report in reports
        if best is not None and any(best.report is report[place] for place in ("runner", "python"))
    )
    return next(found, reports[0]["artifact"])


def compared(
    reports: list[dict[str, Any]], manifests: dict[str, Manifest]
) -> tuple[Evidence, list[Group]]:
    """The reports as `zoo report` sees them: in groups that can be compared, the fastest first."""
    from compile.artifact.manifest import MANIFEST
    from compile.page.choosing import grouped
    from compile.page.evidence import collect
    from compile.page.reading import Document

    said = [Document(path=Path(), kind="bench", body={"reports": reports, "errors": []})]
    for report, manifest in zip(reports, manifests.values(), strict=True):
        path = Path(report["artifact"], MANIFEST)
        said.append(Document(path=path, kind="manifest", body=manifest))
    evidence = collect(said)
    return evidence, grouped(evidence)


def _advice(groups: list[Group], evidence: Evidence) -> list[str]:
    """Which artifact to take of each group that has a choice."""
    from compile.page.choosing import advice

    several = [group for group in groups if len(group.rows) > 1]
    said = [(group.title, " ".join(advice(group, evidence))) for group in several]
    return [text if len(groups) == 1 else f"{title}: {text}" for title, text in said]


def allocators(reports: list[dict[str, Any]]) -> tuple[str, str]:
    """zoo-run's allocator, or Python's without it, and the backends that have another in Python."""
    served = [
        (report["python"]["backend"], Path(report["python"]["conditions"]["allocator"]).name)
        for report in reports
    ]
    runners = [report["runner"]["conditions"] for report in reports if report["runner"]]
    usual = Path(runners[0]["allocator"]).name if runners else served[0][1]
    others = {
        f"; {backend} in Python: {name}" for backend, name in served if not _same(name, usual)
    }
    return usual, "".join(sorted(others))


def _same(one: str, other: str) -> bool:
    """Whether two names are one library's: a link may leave out the last numbers."""
    return one.startswith(other) or other.startswith(one)


def _bench_row(
    report: dict[str, Any], manifest: Manifest, special: str, times_eager: float | None
) -> tuple[str, ...]:
    own, python = report["runner"], report["python"]
    batch = f"{python['precision']} {batch_of(manifest, python['batch'])}"
    name = "\n".join([python["backend"], batch, *broken(special, _LABEL_WIDTH)])
    times = "-" if times_eager is None else f"{times_eager:.2f}"
    if own is None:
        return (name, *("-",) * 7, times, _median(python))
    latency = own["latency_ms"]
    return (
        name,
        f"{short(own['load_ms'])}\n{short(own['first_call_ms'])}",
        _median(own),
        short(latency["p90"]),
        short(latency["p99"]),
        short(own["throughput_per_s"]),
        f"{own['peak_rss_bytes'] / 1e6:.0f}",
        f"{own['file_bytes'] / 1e6:.1f}",
        times,
        _median(python),
    )


def _median(report: dict[str, Any]) -> str:
    """A median with its interval and its verdict."""
    latency = report["latency_ms"]
    interval = latency["median_interval"]
    if interval is None:
        return f"{short(latency['median'])}\n{report['verdict']}"
    width = max(latency["median"] - interval[0], interval[1] - latency["median"])
    share = 100 * width / latency["median"]
    shown = f"+-{share:.1f}%" if share < 9.95 else f"+-{share:.0f}%" if share < 99.5 else "+->99%"
    return f"{short(latency['median'])}\n{shown}\n{report['verdict']}"
