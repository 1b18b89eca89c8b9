"""zoo doctor, clean."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.options import ARTIFACTS, RUNS, Artifacts, Json, Runner, Runs


def doctor(runner: Runner = None, json: Json = False) -> None:
    """Say what this machine has, and what each backend still needs."""
    from compile.machine import conditions, package_version
    from compile.report import show, table, to_json
    from compile.runner import find_runner
    from zoo.cli.tables import wrapped

    found = find_runner(runner)
    tools: dict[str, Any] = {name: shutil.which(name) for name in ("g++", "cmake", "ninja")}
    tools["zoo-run"] = str(found) if found else None
    packages = {name: package_version(name) for name in ("onnxruntime", "torch-tensorrt")}
    report: dict[str, Any] = {
        "conditions": conditions(),
        "tools": tools,
        "packages": packages,
        "backends": _backends(),
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
    }
    if json:
        print(to_json(report), end="")
        return
    here = conditions()
    rows = [
        ("cpu", f"{here['cpu']}, {here['cores']} cores, {here['level']}"),
        *((name, number) for name, number in here["versions"].items()),
        *((name, path or "missing") for name, path in tools.items()),
        *((name, number or "not installed (optional)") for name, number in packages.items()),
        ("disk free", f"{report['disk_free_bytes'] / 1e9:.0f} GB"),
    ]
    show(table(("", "here"), rows, left=("", "here")))
    states = [f"{name}: {reason or 'ready'}" for name, reason in report["backends"].items()]
    show("", *wrapped(states))
    show("\nnext: " + ("zoo train resnet18" if found else "just runner"))


def _backends() -> dict[str, str | None]:
    """Backend -> what it lacks here, or None; a precision that alone is missing is named."""
    from compile.backends import BACKENDS, backend

    found: dict[str, str | None] = {}
    for name in BACKENDS:
        known = backend(name).PRECISIONS
        device = next(iter(known))
        lacks = {each: backend(name).missing(device, each) for each in known[device]}
        missing = {each: reason for each, reason in lacks.items() if reason}
        if len(missing) == len(lacks):
            found[name] = next(iter(missing.values()))
        else:
            found[name] = "; ".join(f"{each}: {why}" for each, why in missing.items()) or None
    return found


def clean(
    all_artifacts: Annotated[
        bool, typer.Option("--all-artifacts", help="Remove all artifacts.")
    ] = False,
    all_runs: Annotated[bool, typer.Option("--all-runs", help="Remove all runs.")] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Remove trainings that could be resumed.")
    ] = False,
    runs: Runs = RUNS,
    out: Artifacts = ARTIFACTS,
    json: Json = False,
) -> None:
    """Remove what killed commands left behind; artifacts and runs only when asked."""
    from compile.artifact.publishing import find_artifacts, stale_stagings
    from compile.report import show, to_json
    from zoo.runs.checkpoint import list_runs
    from zoo.runs.draft import leftovers, stale_drafts

    doomed = [*stale_stagings(out), *stale_drafts(runs, resumable=unfinished)]
    if all_artifacts:
        doomed += [path for path in find_artifacts(out) if list(path.glob("manifest.*"))]
    if all_runs:
        doomed += list_runs(runs)
    for folder in doomed:
        shutil.rmtree(folder)
        folder.with_name(f"parity-{folder.name}.json").unlink(missing_ok=True)
        with suppress(OSError):  # other artifacts or runs are there
            folder.parent.rmdir()
    files = leftovers(runs)
    for file in files:
        file.unlink()
    removed = [str(path) for path in (*doomed, *files)]
    if json:
        print(to_json({"removed": removed}), end="")
        return
    show(
        *(f"removed {path}" for path in removed),
        f"{len(doomed)} folders and {len(files)} files removed",
        "next: zoo list",
    )


COMMANDS = {"doctor": doctor, "clean": clean}
