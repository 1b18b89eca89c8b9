"""zoo list."""

from __future__ import annotations

from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.options import ARTIFACTS, RUNS, Artifacts, Json, Runs

if TYPE_CHECKING:
    from zoo.models import ModelInfo

UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}


def list_(
    pattern: Annotated[
        str | None,
        typer.Argument(help="Part of a name, or a glob such as 'resnet50*'.", show_default=False),
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only this family, such as cifar.")] = None,
    max_params: Annotated[
        str | None, typer.Option(metavar="COUNT", help="At most so many parameters: 30M.")
    ] = None,
    max_macs: Annotated[
        str | None, typer.Option(metavar="COUNT", help="At most so many multiply-adds: 4.5G.")
    ] = None,
    runs: Runs = RUNS,
    out: Artifacts = ARTIFACTS,
    json: Json = False,
) -> None:
    """List the networks; without a filter the runs and the artifacts, too."""
    from compile.artifact.publishing import find_artifacts
    from compile.report import short, show, table, to_json
    from zoo.runs.checkpoint import list_runs
    from zoo.runs.draft import progress_of, unfinished_runs

    models = select(pattern, family, max_params, max_macs)
    found = [str(run) for run in list_runs(runs)]
    unfinished = unfinished_runs(runs)
    built = [str(path) for path in find_artifacts(out)]
    if json:
        documents = [
            {**asdict(model), "parameters": model.parameters, "macs": model.macs}
            for model in models
        ]
        begun = [str(folder) for folder in unfinished]
        report = {"models": documents, "runs": found, "unfinished": begun, "artifacts": built}
        print(to_json(report), end="")
        return
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
    show(table(columns, rows, left=("network", "paper (arXiv)")))
    show("input: height and width, at which the multiply-adds (GMACs) are counted")
    if pattern or family or max_params or max_macs:
        show(f"next: zoo train {models[0].name}")
        return
    begun = [f"{folder} ({progress_of(folder)})" for folder in unfinished]
    for title, entries in (("runs", found), ("unfinished runs", begun), ("artifacts", built)):
        if entries or title != "unfinished runs":
            show(f"\n{title}:" + ("" if entries else " none"))
            show(*(f"  {entry}" for entry in entries))
    show("\nnext: " + ("zoo inspect " + built[-1] if built else "zoo train resnet18"))


def select(
    pattern: str | None, family: str | None, max_params: str | None, max_macs: str | None
) -> list[ModelInfo]:
    """The networks that pass every filter; None passes all. That none does is a UsageError."""
    from zoo.errors import UsageError
    from zoo.models import info, names

    models = [info(name) for name in names()]
    families = sorted({model.family for model in models})
    if family is not None and family not in families:
        raise UsageError(f"unknown --family '{family}'; choose one of: {', '.join(families)}")
    params = amount("--max-params", max_params)
    macs = amount("--max-macs", max_macs)
    chosen = [
        model
        for model in models
        if (pattern is None or matches(model.name, pattern))
        and family in (None, model.family)
        and model.parameters <= params
        and model.macs <= macs
    ]
    if not chosen:
        raise UsageError("no network passes these filters; run `zoo list` for all of them")
    return chosen


def matches(name: str, pattern: str) -> bool:
    """Whether `pattern` is a glob for the whole of `name`, or else a part of it."""
    if any(character in pattern for character in "*?["):
        return fnmatchcase(name, pattern)
    return pattern in name


def amount(option: str, text: str | None) -> float:
    """`30M`, `4.5G`, `500k` or a plain number; infinity for None. Else a UsageError."""
    from zoo.errors import UsageError

    if text is None:
        return float("inf")
    unit = text[-1:]
    try:
        value = float(text.removesuffix(unit) if unit in UNITS else text) * UNITS.get(unit, 1)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise UsageError(f"{option} '{text}' is no count; write it such as 30M, 4.5G or 500k")
    return value


COMMANDS = {"list": list_}
