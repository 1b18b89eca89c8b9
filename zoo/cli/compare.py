"""zoo compare: which artifact is faster, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from compile.advice import no_runner
from compile.report import short, table
from zoo.cli.command import Command
from zoo.cli.labels import batch_of, broken, traits
from zoo.cli.options import ArtifactsOption, QuietOption, RunnerOption, SeedOption, ThreadsOption
from zoo.cli.selecting import ready_runner, select
from zoo.cli.tables import StageLine, counted, wrapped
from zoo.errors import CheckFailed, Unavailable, UsageError

if TYPE_CHECKING:
    from compile.measure.compare import Change

_LABEL_WIDTH = 16


@dataclass(frozen=True, kw_only=True)
class Compare(ArtifactsOption, RunnerOption, ThreadsOption, SeedOption, QuietOption, Command):
    """Measure artifacts side by side, in turn, and say which is faster."""

    what: Annotated[tuple[str, ...], Argument(show_default="the newest model's")] = ()
    """Artifacts' paths, or a model's name or run; the others are compared with the first."""
    duration: Annotated[float | None, Option(min=0.001, max=3600, show_default="6")] = None
    """Seconds of timed calls of each artifact, in all."""
    rounds: Annotated[int | None, Option(min=6, max=1000, show_default="11")] = None
    """How often each artifact is started anew."""
    batch: Annotated[int | None, Option(min=1, max=2**20, show_default="the artifacts' own")] = None
    """Rows of each call."""
    accept_error: bool = False
    """Also measure artifacts that failed their proof."""
    baseline: Annotated[Path | None, Option(show_default="none")] = None
    """An earlier report of zoo compare --json; a program that is slower now fails."""
    max_regress: str = "5%"
    """How much slower than in --baseline a program may be."""

    def run(self) -> None:
        """Print a row for each artifact, and with --baseline another for each change."""
        from compile.artifact.manifest import read_manifest
        from compile.measure.compare import check_known, compare, hold, name_of, read_baseline
        from compile.report import show, to_json

        limit = share(self.max_regress)
        before = None if self.baseline is None else read_baseline(self.baseline)
        runner = ready_runner(self.runner)
        if runner is None:
            raise Unavailable(no_runner("comparing"))
        paths = self._paths(runner)
        manifests = [read_manifest(path) for path in paths]
        if before is not None:
            models = [manifest["model"]["name"] for manifest in manifests]
            check_known(map(name_of, models, paths), before)
        with StageLine(quiet=self.quiet or self.json) as tell:
            tell(f"comparing {counted([len(paths)], 'artifact')}, each in processes of its own")
            report = compare(
                paths,
                runner,
                duration=self.duration,
                rounds=self.rounds,
                seed=self.seed,
                threads=self.threads,
                batch=self.batch,
                accept_error=self.accept_error,
            )
        changes: list[Change] = []
        if before is not None:
            changes, relative = hold(report, before, limit)
            entries = [change.as_json() for change in changes]
            report["baseline"] = {"relative": relative, "changes": entries}
        if self.json:
            print(to_json(report), end="")
        else:
            names = [f"{path.parent.name}/{path.name}" for path in paths]
            special = traits(dict(zip(names, manifests, strict=True)))
            batches = [
                batch_of(manifest, program["batch"])
                for manifest, program in zip(manifests, report["programs"], strict=True)
            ]
            labels = [(batch, special[name]) for batch, name in zip(batches, names, strict=True)]
            show(*comparison_table(report, labels))
            if changes:
                show(*change_table(changes, relative))
        fail_regressed(changes)

    def _paths(self, runner: Path) -> list[Path]:
        """The artifacts that are meant. Of a model, those for which zoo-run has an engine."""
        from compile.artifact.manifest import read_manifest
        from compile.runner import has_engine

        chosen: list[Path] = []
        for what in self.what or (None,):
            found = select(what, self.out, everything=False)
            several = len(found) > 1
            chosen += [
                path
                for path in found
                if not several or has_engine(runner, read_manifest(path)["backend"])
            ]
        if len(chosen) < (2 if self.baseline is None else 1):
            found_text = f"found {chosen[0]}" if chosen else "none that zoo-run has an engine for"
            raise UsageError(
                f"comparing takes two artifacts or more, {found_text}; `zoo list` shows them"
            )
        return chosen


def share(text: str) -> float:
    """`5%` as 0.05. Raises UsageError for anything but a percentage from 0 to 1000."""
    try:
        value = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        value = -1.0
    if not 0 <= value <= 10:
        raise UsageError(f"--max-regress {text!r}: must be a percentage from 0% to 1000%, like 5%")
    return value


def fail_regressed(changes: list[Change]) -> None:
    """Raise CheckFailed if a program is slower than its baseline by more than is allowed."""
    slower = [change for change in changes if change.regressed]
    if slower:
        worst = max(slower, key=lambda change: change.value)
        raise CheckFailed(
            f"{worst.name} takes {_ratio_text(worst.value, worst.interval)} of its time in the "
            f"baseline, at most {worst.limit:.3g} is allowed"
        )


def comparison_table(report: dict[str, Any], labels: list[tuple[str, str]]) -> list[Any]:
    """A row for each program, then notes. `labels`: what `batch_of` and `traits` say of each."""
    programs = report["programs"]
    rows = [_row(program, *label) for program, label in zip(programs, labels, strict=True)]
    columns = ("artifact", "load\nms", "median\nms", "time /\nfirst's", "95 %\ninterval", "verdict")
    conditions = programs[0]["conditions"]
    doubts = [
        f"INVALID {Path(program['artifact']).name}: {reason}"
        for program in programs
        for reason in program["reasons"]
    ]
    notes = [
        f"{report['rounds']} rounds: in each, every artifact is started anew, and they take turns; "
        f"time / first's: the median over the rounds",
        *doubts,
        f"{conditions['cpu']}, {counted([conditions['threads']], 'thread')}, "
        f"{conditions['cpu_capability']}, torch {conditions['torch']}, seed {report['seed']}, "
        f"{conditions['date']}",
    ]
    return [table(columns, rows, left=("artifact", "verdict")), *wrapped(notes)]


def change_table(changes: list[Change], relative: str) -> list[Any]:
    """A row for each program that stands in the baseline too."""
    rows = [
        (
            "\n".join(broken(change.name, 30)),
            short(change.value),
            _interval_text(change.interval),
            "slower" if change.regressed else "allowed",
        )
        for change in changes
    ]
    columns = ("program", "time /\nbaseline's", "95 %\ninterval", "verdict")
    note = f"{relative}; slower: the whole interval lies above {changes[0].limit:.3g}"
    return [table(columns, rows, left=("program", "verdict")), *wrapped([note])]


def _row(program: dict[str, Any], batch: str, special: str) -> tuple[str, ...]:
    ratio = program["ratio"]
    name = f"{program['backend']}\n{program['precision']} {batch}"
    return (
        "\n".join([name, *broken(special, _LABEL_WIDTH)]),
        short(program["load_ms"]),
        short(program["latency_ms"]["median"]),
        f"{ratio['value']:.3f}" if ratio else "1",
        _interval_text(ratio["interval"]).replace(" to ", "\nto ") if ratio else "",
        ratio["verdict"].replace(" shown", "\nshown") if ratio else "the first",
    )


def _interval_text(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _ratio_text(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({_interval_text(interval)})"
