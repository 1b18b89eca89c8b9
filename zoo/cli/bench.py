"""zoo bench: how fast artifacts are, in zoo-run and in Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from compile.measure.defaults import DURATION_S, ITERATIONS
from compile.report import short, table
from zoo.cli.command import Command
from zoo.cli.labels import broken, traits
from zoo.cli.options import (
    ArtifactsArgument,
    ArtifactsOption,
    QuietOption,
    RunnerOption,
    ThreadsOption,
)
from zoo.cli.selecting import raise_worst, ready_runner, select
from zoo.cli.tables import StageLine, counted, wrapped
from zoo.errors import ZooError

if TYPE_CHECKING:
    from compile.artifact.manifest import Manifest

_LABEL_WIDTH = 14


@dataclass(frozen=True, kw_only=True)
class Bench(ArtifactsArgument, ArtifactsOption, RunnerOption, ThreadsOption, QuietOption, Command):
    """Measure artifacts with zoo-run, and the same files from Python."""

    duration: Annotated[
        float | None, Option(min=0.001, max=3600, show_default=f"{DURATION_S:g}")
    ] = None
    """Measure for at least this many seconds."""
    iterations: Annotated[int | None, Option(min=1, max=10**6, show_default=str(ITERATIONS))] = None
    """Measure at least this many calls."""

    def run(self) -> None:
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
            show(*bench_table(reports, list(traits(manifests).values())))
        raise_worst(errors)
        if not self.json:
            show(f"next: zoo inspect {paths[0]}")


def bench_table(reports: list[dict[str, Any]], special: list[str]) -> list[Any]:
    """A row for each artifact: what zoo-run measured, and the median in Python; then notes.

    `special` has what `traits` says of each artifact.
    """
    rows = [_bench_row(*each) for each in zip(reports, special, strict=True)]
    columns = (
        *("artifact", "load ms\nfirst", "median\nms", "p90\nms", "p99\nms", "per s"),
        *("peak\nMB", "file\nMB", "verdict", "Python\nms"),
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
        "first: the first call; median: with its 95 % interval; Python: the median of the same "
        "file in Python; -: too few samples for it, or zoo-run has no engine for the backend",
        *(f"INVALID {doubt}" for doubt in doubts),
        facts,
    ]
    return [*lines, *wrapped(notes)]


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


def _bench_row(report: dict[str, Any], special: str) -> tuple[str, ...]:
    own = report["runner"]
    python = report["python"]
    name = "{}\n{} b{}".format(*(python[key] for key in ("backend", "precision", "batch")))
    name = "\n".join([name, *broken(special, _LABEL_WIDTH)])
    if own is None:
        empty = ("-",) * 7
        return (name, *empty, python["verdict"], _median(python["latency_ms"]))
    latency = own["latency_ms"]
    return (
        name,
        f"{short(own['load_ms'])}\n{short(own['first_call_ms'])}",
        _median(latency),
        short(latency["p90"]),
        short(latency["p99"]),
        short(own["throughput_per_s"]),
        f"{own['peak_rss_bytes'] / 1e6:.0f}",
        f"{own['file_bytes'] / 1e6:.1f}",
        own["verdict"],
        _median(python["latency_ms"]),
    )


def _median(latency: dict[str, Any]) -> str:
    interval = latency["median_interval"]
    if interval is None:
        return short(latency["median"])
    width = max(latency["median"] - interval[0], interval[1] - latency["median"])
    share = 100 * width / latency["median"]
    return f"{short(latency['median'])}\n" + (
        f"+-{share:.1f}%" if share < 9.95 else f"+-{share:.0f}%" if share < 99.5 else "+->99%"
    )
