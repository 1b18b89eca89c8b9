"""zoo list: the networks, the runs and the artifacts."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from zoo.cli.command import Command
from zoo.cli.options import ArtifactsOption, JsonOption, RunsOption
from zoo.errors import UsageError, ZooError
from zoo.models import ModelInfo, info, names

if TYPE_CHECKING:
    from pathlib import Path

UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True, kw_only=True)
class List(RunsOption, ArtifactsOption, JsonOption, Command):
    """List the networks, the runs and the artifacts."""

    pattern: Annotated[str | None, Argument()] = None
    """Part of a network's name, or a glob such as 'resnet50*'."""
    family: str | None = None
    """Only this family, such as cifar."""
    max_params: Annotated[str | None, Option(metavar="COUNT")] = None
    """At most this many parameters, such as 30M."""
    max_macs: Annotated[str | None, Option(metavar="COUNT")] = None
    """At most this many multiply-adds, such as 4.5G."""

    def run(self) -> None:
        """Print the networks that pass the filters; without one the runs and artifacts too."""
        from compile.artifact.publishing import find_artifacts
        from compile.report import show, to_json
        from zoo.runs.folders import list_runs, unfinished_runs

        models = select(self.pattern, self.family, self.max_params, self.max_macs)
        runs, unfinished = list_runs(self.runs), unfinished_runs(self.runs)
        artifacts = find_artifacts(self.out)
        pending = [path for path in artifacts if _is_pending(path)]
        if self.json:
            report = {
                "models": [asdict(model) for model in models],
                "runs": list(map(str, runs)),
                "unfinished": list(map(str, unfinished)),
                "artifacts": list(map(str, artifacts)),
                "pending": list(map(str, pending)),
            }
            print(to_json(report), end="")
            return
        show(_network_table(models))
        show("input: height and width, at which the multiply-adds (GMACs) are counted")
        if self.pattern or self.family or self.max_params or self.max_macs:
            show(f"next: zoo train {models[0].name}")
            return
        show(*_folder_lines(runs, unfinished, artifacts, pending))
        last = f"zoo inspect {artifacts[-1]}" if artifacts else "zoo train resnet18"
        show("", f"next: {last}")


def _network_table(models: list[ModelInfo]) -> Any:
    from compile.report import short, table

    columns = ("network", "depth", "params", "GMACs", "input", "paper (arXiv)")
    rows = [
        (
            model.name,
            str(model.depth),
            f"{short(model.parameters / 1e6)} M",
            short(model.macs / 1e9),
            str(model.shape[-1]),
            model.source.replace("arXiv:", ""),
        )
        for model in models
    ]
    return table(columns, rows, left=("network", "paper (arXiv)"))


def _is_pending(path: Path) -> bool:
    """Whether an artifact waits for its first check; False for one that cannot be read."""
    from compile.artifact.manifest import read_manifest

    with suppress(ZooError):
        return bool(read_manifest(path)["status"] == "pending")
    return False


def _folder_lines(
    runs: list[Path], unfinished: list[Path], artifacts: list[Path], pending: list[Path]
) -> list[str]:
    """The folders under their titles; unfinished runs only if there are some."""
    stopped = []
    if unfinished:  # to read what they trained takes torch, and with it a second
        from zoo.runs.draft import progress_of

        stopped = [f"{folder} ({progress_of(folder)})" for folder in unfinished]
    lines = []
    for title, entries in (
        ("runs", list(map(str, runs))),
        ("unfinished runs", stopped),
        ("artifacts", [f"{path}{' (pending)' * (path in pending)}" for path in artifacts]),
    ):
        if entries or title != "unfinished runs":
            lines += ["", f"{title}:" + ("" if entries else " none")]
            lines += [f"  {entry}" for entry in entries]
    return lines


def select(
    pattern: str | None, family: str | None, max_params: str | None, max_macs: str | None
) -> list[ModelInfo]:
    """The networks that pass every filter; None passes all. UsageError if no network does."""
    most_parameters = amount("--max-params", max_params)
    most_macs = amount("--max-macs", max_macs)
    chosen = [
        model
        for model in map(info, names(pattern, family=family))
        if model.parameters <= most_parameters and model.macs <= most_macs
    ]
    if not chosen:
        raise UsageError("no network passes these filters; run `zoo list` for all of them")
    return chosen


def amount(option: str, text: str | None) -> float:
    """`30M`, `4.5G`, `500k` or a plain number; infinity for None. Else a UsageError."""
    if text is None:
        return float("inf")
    unit = text[-1:]
    try:
        value = float(text.removesuffix(unit) if unit in UNITS else text) * UNITS.get(unit, 1)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise UsageError(f"{option} '{text}' is not a count; write it as in 30M, 4.5G or 500k")
    return value
