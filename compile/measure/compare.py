"""Compare artifacts: which is faster, and by how much, with an interval.

zoo-run takes the times (runtime_cpp/src/compare.cpp): each artifact runs in processes of its own,
in turns whose order a seed decides. Here its report is held against an older one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.errors import BadArtifact, UsageError
from compile.measure.defaults import ROUNDS
from compile.runner import measure_several

MAX_REGRESS = 0.05
"""How much slower than its baseline a program may be, as a share."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """The time of a program over its time in an older report."""

    name: str
    value: float
    interval: tuple[float, float]
    limit: float
    """What is allowed."""

    @property
    def regressed(self) -> bool:
        """Whether the whole interval lies beyond what is allowed."""
        return self.interval[0] > self.limit

    def as_json(self) -> dict[str, Any]:
        """The entry of a report."""
        return {
            "program": self.name,
            "value": self.value,
            "interval": list(self.interval),
            "limit": self.limit,
            "regressed": self.regressed,
        }


def compare(
    paths: Sequence[Path],
    runner: Path,
    *,
    duration: float | None = None,
    rounds: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    batch: int | None = None,
    accept_error: bool = False,
) -> dict[str, Any]:
    """Measure artifacts side by side with zoo-run; return its report.

    `programs` has one entry for each path. `latency_ms` is the median over the rounds; `ratio` has
    the time over that of the first path, its 95 % interval, and a verdict: `faster`, `slower` or
    `no difference shown`; it is None for the first one.

    Args:
        paths: of artifacts for which zoo-run has an engine; one alone is measured in rounds.
        runner: the zoo-run.
        duration: seconds of timed calls of each artifact, in all; None: zoo-run's default.
        rounds: how often each is started anew, at least 6; None: zoo-run's default.
        seed: decides the order of the turns.
        threads: of each program; None: all usable cores.
        batch: rows of a call; None: the smallest of each artifact, which must be the same.
        accept_error: also measure artifacts that failed their proof.

    Raises:
        UsageError: batches that differ.
        BadArtifact: one of them cannot be run.
        Unavailable: this machine lacks what one of them needs.
    """
    given = {"--duration": duration, "--rounds": rounds, "--batch": batch, "--threads": threads}
    options = [
        word for flag, value in given.items() if value is not None for word in (flag, str(value))
    ]
    if len(paths) == 1 and rounds is None:
        options += ["--rounds", str(ROUNDS)]
    options += ["--seed", str(seed), *(["--accept-error"] if accept_error else [])]
    return measure_several(runner, paths, options)


def read_baseline(path: Path) -> dict[str, Any]:
    """The report that `zoo compare --json` once printed. Raises BadArtifact for anything else."""
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise BadArtifact(f"--baseline {path}: {error.strerror}") from None
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("kind") != "comparison":
        raise BadArtifact(
            f"--baseline {path} is not a report of a comparison; write one with "
            "`zoo compare ... --json > FILE`"
        )
    return document


def hold(
    now: dict[str, Any], then: dict[str, Any], limit: float = MAX_REGRESS
) -> tuple[list[Change], str]:
    """Hold a report against an older one: the changes, and what they are relative to.

    If both have the same first program and others beside it, their times over the first one's are
    compared: how fast the machine was on that day cancels out. Else the times themselves are, and
    both must come from the same CPU, with as many threads.

    Raises UsageError if the older one lacks a program, BadArtifact if it comes from other
    conditions.
    """
    ours, theirs = _programs(now), _programs(then)
    check_known(ours, then)
    first = next(iter(ours))
    for name, program in ours.items():
        _same_conditions(program, theirs[name], ("batch",))
    if len(ours) > 1 and next(iter(theirs)) == first:
        pairs = {
            name: (_ratio(program), _ratio(theirs[name]))
            for name, program in ours.items()
            if name != first
        }
        relative = f"each over the time of {first} in its own run"
    else:
        _same_conditions(ours[first]["conditions"], theirs[first]["conditions"], ("cpu", "threads"))
        pairs = {name: (_time(program), _time(theirs[name])) for name, program in ours.items()}
        relative = "each by itself"
    return [_change(name, *pair, 1 + limit) for name, pair in pairs.items()], relative


def check_known(names: Iterable[str], then: dict[str, Any]) -> None:
    """Raise UsageError if an older report lacks one of these programs."""
    known = _programs(then)
    lacking = [name for name in names if name not in known]
    if lacking:
        raise UsageError(
            f"the baseline has no {lacking[0]}; it has: {', '.join(known)}; write a new one with "
            "`zoo compare ... --json > FILE`"
        )


def name_of(model: str, artifact: Path) -> str:
    """What a program is called in every build of it: `resnet18/inductor-fp32-b1-cpu`."""
    return f"{model}/{artifact.resolve().name}"


def _programs(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    programs = report["programs"]
    return {name_of(each["model"], Path(each["artifact"])): each for each in programs}


_Figure = tuple[float, tuple[float, float]]


def _ratio(program: dict[str, Any]) -> _Figure:
    low, high = program["ratio"]["interval"]
    return program["ratio"]["value"], (low, high)


def _time(program: dict[str, Any]) -> _Figure:
    low, high = program["latency_ms"]["median_interval"]
    return program["latency_ms"]["median"], (low, high)


def _change(name: str, now: _Figure, then: _Figure, limit: float) -> Change:
    """The widest interval that the two allow: neither run knows of the other's rounds."""
    (value, (low, high)), (before, (before_low, before_high)) = now, then
    interval = low / before_high, high / before_low
    return Change(name=name, value=value / before, interval=interval, limit=limit)


def _same_conditions(ours: dict[str, Any], theirs: dict[str, Any], names: Iterable[str]) -> None:
    for what in names:
        if ours[what] != theirs[what]:
            raise BadArtifact(
                f"the baseline was taken with {what} {theirs[what]}, this run with {ours[what]}; "
                "write a new one with `zoo compare ... --json > FILE`"
            )
