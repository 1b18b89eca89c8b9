"""zoo import, export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.options import RUNS, Json, Out, Runs, Seed
from zoo.errors import UsageError

EXPORTS = Path("exports")


def import_(
    model: Annotated[str, typer.Argument(help="A name that `zoo list` shows.")],
    weights: Annotated[
        Path, typer.Option(help="A .pth or .safetensors file, of torchvision or timm perhaps.")
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            help="A number, or a text file with one name on each line.", show_default="the file's"
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Entry of a checkpoint that holds several.", show_default="the only one"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Preprocessing, such as resize=232; repeatable."),
    ] = None,
    out: Out = RUNS,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Make a run of weights from elsewhere."""
    from compile.report import show, to_json
    from zoo.exchange import import_weights
    from zoo.exchange.importing import read_classes

    made = import_weights(
        model,
        weights,
        classes=read_classes(classes) if classes is not None else None,
        out=out,
        key=key,
        settings=set_ or [],
        seed=seed,
    )
    folder, config = made.run.folder, made.run.config
    if json:
        report = {
            "run": str(folder),
            "model": model,
            "options": config.options,
            "source": config.source,
            "preprocessing": config.preprocessing,
            "notes": made.notes,
        }
        print(to_json(report), end="")
        return
    show(
        f"imported {folder}: {model}, {config.options['num_classes']} classes",
        *(f"- {note}" for note in made.notes),
        f"next: zoo compile {shlex.quote(str(folder))} --backend all",
    )


def export(
    what: Annotated[
        str, typer.Argument(help="A run's path or a model's name; an artifact for --triton.")
    ],
    format_: Annotated[
        str | None,
        typer.Option("--format", help="torchvision, timm or hf.", show_default=False),
    ] = None,
    triton: Annotated[
        Path | None,
        typer.Option(help="Model repository of a Triton server.", show_default=False),
    ] = None,
    out: Out = EXPORTS,
    runs: Runs = RUNS,
    license_: Annotated[
        str, typer.Option("--license", help="Of the weights, for the card of hf.")
    ] = "unknown",
    name: Annotated[
        str | None,
        typer.Option(help="What Triton calls the model.", show_default="the network's name"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a model of that name in --triton.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a run's weights for torchvision, timm or the hub, or an artifact for Triton."""
    if (format_ is None) == (triton is None):
        raise UsageError("give --format for a run's weights or --triton for an artifact, not both")
    if triton is not None:
        _export_artifact(Path(what), triton, name, force=force, json=json)
    elif name is not None or force:
        raise UsageError("--name and --force belong to --triton; leave them out with --format")
    else:
        assert format_ is not None
        _export_run(what, format_, out, runs, license_, json=json)


def _export_artifact(
    artifact: Path, repository: Path, name: str | None, *, force: bool, json: bool
) -> None:
    from compile.artifact.reading import verify_artifact
    from compile.artifact.triton import export_triton
    from compile.backends import triton_platform
    from compile.report import show, to_json

    if not artifact.is_dir():
        raise UsageError(f"{artifact} is no artifact's folder; `zoo list` shows them")
    verified = verify_artifact(artifact)
    platform = triton_platform(verified.manifest, artifact)
    made = export_triton(verified, repository, platform, name=name, force=force)
    if json:
        report = {
            "artifact": str(artifact),
            "path": str(made.path),
            "model": made.path.name,
            "platform": made.platform,
            "notes": made.notes,
        }
        print(to_json(report), end="")
        return
    show(
        f"exported {made.path} for {made.platform}",
        *(f"- {note}" for note in made.notes),
        f"next: tritonserver --model-repository {shlex.quote(str(repository.absolute()))}",
    )


def _export_run(
    run: str, format_: str, out: Path, runs: Path, license_: str, *, json: bool
) -> None:
    from compile.report import show, to_json
    from zoo.exchange import export_run
    from zoo.models import info, names
    from zoo.runs.checkpoint import load_run, newest_run

    if run not in names() and not Path(run).exists():
        info(run)  # raises the error that offers close names
    named = run in names() and "/" not in run
    chosen = newest_run(runs, run) if named else load_run(run)
    made = export_run(chosen, format_, out, license_=license_)
    if json:
        report = {
            "run": str(chosen.folder),
            "format": format_,
            "path": str(made.path),
            "sha256": made.sha256,
            "written": made.written,
        }
        print(to_json(report), end="")
        return
    verb = "exported" if made.written else "is there already:"
    lines = [f"{verb} {made.path}", f"- sha256 {made.sha256}"]
    if format_ == "hf" and license_ == "unknown":
        lines.append("- its card says 'license: unknown'; give --license before you upload it")
    show(*lines, f"next: {_next(format_, chosen.config.model, made.path)}")


def _next(wanted: str, model: str, path: Path) -> str:
    """How the other library reads it; for hf, how it gets to the hub."""
    quoted = shlex.quote(str(path))
    if wanted == "hf":
        return f"hf upload USER/{path.name} {quoted}"
    return f"zoo import {model} --weights {quoted}"


COMMANDS = {"import": import_, "export": export}
