"""What `zoo compile` does with its options: plan the cells, build each, report."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.backends import BACKENDS, backend, choose
from compile.errors import Unavailable, UsageError, ZooError
from compile.precision import precision as find_precision
from compile.spec import CompileSpec, parse_batch, parse_shape

if TYPE_CHECKING:
    from zoo.cli.tables import Progress
    from zoo.source import Source


@dataclass(frozen=True, kw_only=True)
class Order:
    """The options of `zoo compile` that hold for every cell."""

    model: str | None
    batch: str
    shape: str | None
    target: str
    fresh: bool
    runs: Path
    out: Path
    seed: int
    runner: Path | None
    force: bool
    quiet: bool


@dataclass(kw_only=True)
class Cell:
    """One artifact to build: a row of the table."""

    backend: str
    precision: str
    device: str
    refused: str | None = None
    """Why this machine cannot build it."""
    failed: ZooError | None = None
    path: Path | None = None
    built: bool = False
    seconds: float = 0.0
    num_bytes: int = 0


def plan(backend_name: str, precision: str, device: str | None) -> list[Cell]:
    """Return the cells asked for; raise at once when a single one cannot be built here."""
    if precision != "all":
        find_precision(precision)
    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"unknown --device '{device}'; choose cpu or cuda")
    cells = []
    for name in BACKENDS if backend_name == "all" else [backend_name]:
        maker = backend(name)
        where = device or ("cpu" if "cpu" in maker.PRECISIONS else "cuda")
        known = maker.PRECISIONS.get(where, ())
        for each in known if precision == "all" else (precision,):
            cell = Cell(backend=name, precision=each, device=where)
            try:
                choose(name, each, where)
            except (Unavailable, UsageError) as error:
                cell.refused = str(error).removeprefix(f"{name} ")
                if backend_name != "all":
                    raise
            cells.append(cell)
    if all(cell.refused for cell in cells):
        reasons = {f"{cell.backend} {cell.refused}" for cell in cells}
        raise Unavailable(f"nothing can be built here: {'; '.join(sorted(reasons))}")
    return cells


def compile_all(order: Order, cells: list[Cell], *, json: bool) -> None:
    """Build every cell that can be, print the table, and fail if one that should build did not."""
    from compile.report import show, to_json
    from zoo.cli.selecting import raise_worst, ready_runner
    from zoo.cli.tables import Progress, compile_table
    from zoo.source import resolve

    shape = parse_shape(order.shape) if order.shape else None
    source = resolve(order.model, runs=order.runs, fresh=order.fresh, seed=order.seed, shape=shape)
    if not json:
        show(f"{source.name} from {source.origin}")
    samples = source.samples()
    runner = ready_runner(order.runner)
    with Progress(quiet=order.quiet) as progress:
        for cell in cells:
            if cell.refused is None:
                _build(order, cell, source, samples, runner, progress)
    if json:
        print(
            to_json({"model": source.name, "source": source.origin, "cells": _rows(cells)}), end=""
        )
    else:
        show(*compile_table(cells))
    raise_worst([cell.failed for cell in cells if cell.failed is not None])
    if not json:
        show("next: zoo check")


def _build(
    order: Order,
    cell: Cell,
    source: Source,
    samples: Any,
    runner: Path | None,
    progress: Progress,
) -> None:
    from compile.api import Model, compile_module

    title = f"{cell.backend} {cell.precision}"
    try:
        spec = CompileSpec(
            shape=source.shape,
            batch=parse_batch(order.batch),
            precision=cell.precision,
            device=cell.device,
            target=order.target,
        )
        result = compile_module(
            source.network,
            spec,
            backend=cell.backend,
            root=order.out,
            model=Model(
                name=source.name,
                source=source.origin,
                classes=source.classes,
                preprocessing=dict(source.preprocessing) if source.preprocessing else None,
                macs=source.macs,
                shape=source.native,
            ),
            samples=samples,
            force=order.force,
            runner=runner,
            command=_command(order, cell, source),
            progress=lambda stage: progress(f"{title}: {stage}"),
        )
    except UsageError:
        raise
    except ZooError as error:
        cell.failed = error
        return
    cell.path, cell.built, cell.seconds = result.path, result.built, result.seconds
    files = result.manifest["files"]
    cell.num_bytes = sum(files[p["file"]]["size"] for p in result.manifest["programs"])


def _command(order: Order, cell: Cell, source: Source) -> str:
    """The command that rebuilds this one artifact."""
    words = ["zoo", "compile", source.origin if source.run else source.name]
    words += ["--backend", cell.backend, "--precision", cell.precision, "--batch", order.batch]
    words += ["--device", cell.device, "--target", order.target]
    words += ["--input", f"1x{'x'.join(map(str, source.shape))}"]
    if source.run is None:
        words += ["--fresh", "--seed", str(order.seed)]
    return shlex.join(words)


def _rows(cells: list[Cell]) -> list[dict[str, Any]]:
    return [
        {
            "backend": cell.backend,
            "precision": cell.precision,
            "device": cell.device,
            "path": str(cell.path) if cell.path else None,
            "built": cell.built,
            "seconds": cell.seconds,
            "refused": cell.refused,
            "failed": str(cell.failed) if cell.failed else None,
        }
        for cell in cells
    ]
