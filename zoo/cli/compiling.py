"""What `zoo compile` does with its options: plan the cells, build each, report."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.backends import backend, check_portable
from compile.errors import NotBuildable, UsageError, ZooError
from compile.machine import LEVELS
from compile.precision import precision
from compile.spec import INPUT_TYPES, CompileSpec, parse_batch, parse_shape
from zoo.cli.apart import build_apart
from zoo.cli.cells import Cell, require_some

if TYPE_CHECKING:
    from compile.proof.subject import Subject
    from zoo.cli.tables import Progress
    from zoo.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class Order:
    """The options of `zoo compile` that hold for every cell."""

    model: str | None
    batch: str
    shape: str | None
    input_type: str
    target: str
    portable: bool
    fresh: bool
    runs: Path
    out: Path
    seed: int
    calibrate: Path | None
    num_samples: int
    runner: Path | None
    force: bool
    timeout: float | None
    threads: int | None
    quiet: bool


def check_options(order: Order, cells: list[Cell]) -> None:
    """Refuse options that cannot be meant, before anything is loaded."""
    parse_batch(order.batch)
    if order.input_type not in INPUT_TYPES:
        known = ", ".join(INPUT_TYPES)
        raise UsageError(f"unknown --input-type '{order.input_type}'; choose one of: {known}")
    if order.portable:
        check_portable([cell.backend for cell in cells])
    levels = ("native", *LEVELS)
    if order.target not in levels:
        raise UsageError(f"unknown target '{order.target}'; choose one of: {', '.join(levels)}")


def compile_all(order: Order, cells: list[Cell], *, json: bool) -> None:
    """Build every cell that can be, print the table, and fail if one that should build did not."""
    from compile.report import show, to_json
    from zoo.cli.selecting import raise_worst, ready_runner
    from zoo.cli.tables import Progress, compile_table
    from zoo.sources.source import resolve

    check_options(order, cells)
    shape = parse_shape(order.shape) if order.shape else None
    # What a network of others prints is no part of the JSON document.
    with redirect_stdout(sys.stderr) if json else nullcontext():
        source = resolve(
            order.model, runs=order.runs, fresh=order.fresh, seed=order.seed, shape=shape
        )
    if not json:
        show(f"{source.name} from {source.origin}")
    runner = ready_runner(order.runner)
    with (
        Progress(quiet=order.quiet) as progress,
        redirect_stdout(sys.stderr) if json else nullcontext(),
    ):
        quantised = any(precision(each.precision).quantised and not each.refused for each in cells)
        subject = make_subject(source, order, quantised=quantised)
        for cell in cells:
            if cell.refused is None:
                _build(order, cell, source, subject, runner, progress)
    require_some(cells)
    if json:
        print(
            to_json({"model": source.name, "source": source.origin, "cells": _rows(cells)}), end=""
        )
    else:
        show(*compile_table(cells))
    raise_worst([_named(cell) for cell in cells if cell.failed is not None])
    if not json:
        show("next: zoo check")


def _named(cell: Cell) -> ZooError:
    """What failed, with the cell that it failed in."""
    assert cell.failed is not None
    said = str(cell.failed)
    where = f"{cell.backend} {cell.precision}"
    return type(cell.failed)(said if said.startswith(where) else f"{where}: {said}")


def make_subject(source: Source, order: Order, *, quantised: bool) -> Subject:
    """The network made ready to be compiled, with the data that proves it.

    Only quantised precisions need images to calibrate with and to count errors on.
    """
    from compile.proof.subject import Calibration, Labelled, Subject

    calibration = source.calibration(order.calibrate, order.num_samples) if quantised else None
    labelled = source.labelled() if quantised else None
    pixels = source.preprocessing
    return Subject(
        source.network,
        source.shape,
        samples=source.samples(),
        calibration=calibration and Calibration(images=calibration[0], source=calibration[1]),
        labelled=labelled and Labelled(images=labelled[0], labels=labelled[1]),
        mean=pixels["mean"] if pixels else None,
        std=pixels["std"] if pixels else None,
    )


def _build(
    order: Order,
    cell: Cell,
    source: Source,
    subject: Subject,
    runner: Path | None,
    progress: Progress,
) -> None:
    from compile.api import Model, compile_module

    start = time.perf_counter()
    title = f"{cell.backend} {cell.precision}"

    def tell(stage: str) -> None:
        progress(f"{title}: {stage} ({time.perf_counter() - start:.0f} s)")

    try:
        if order.timeout is not None:
            tell(f"building, at most {order.timeout:g} s")
            _take(cell, build_apart(_apart(order, cell, source), order.out, order.timeout))
            return
        result = compile_module(
            subject,
            CompileSpec(
                shape=source.shape,
                batch=parse_batch(order.batch),
                precision=cell.precision,
                device=cell.device,
                target=order.target,
                input_type=order.input_type,
                portable=order.portable and backend(cell.backend).PORTABLE,
            ),
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
            force=order.force,
            runner=runner,
            command=shlex.join(["zoo", "compile", *_words(order, cell, source)]),
            progress=tell,
        )
    except UsageError:
        raise
    except NotBuildable as error:
        cell.refused = str(error).removeprefix(f"{cell.backend} ")
        return
    except ZooError as error:
        cell.failed = error
        return
    cell.path, cell.built, cell.seconds = result.path, result.built, result.seconds
    cell.num_bytes = _program_bytes(result.manifest)


def _apart(order: Order, cell: Cell, source: Source) -> list[str]:
    """The words after `zoo compile` that build this one cell in another process."""
    words = [*_words(order, cell, source), "--runs", str(order.runs)]
    words += ["--runner", str(order.runner)] if order.runner else []
    words += ["--threads", str(order.threads)] if order.threads else []
    return words + (["--force"] if order.force else [])


def _take(cell: Cell, reported: dict[str, Any]) -> None:
    """Fill the cell with what another process reported of it."""
    from compile.artifact.manifest import read_manifest

    cell.path = Path(reported["path"])
    cell.built, cell.seconds = reported["built"], reported["seconds"]
    cell.num_bytes = _program_bytes(read_manifest(cell.path))


def _program_bytes(manifest: dict[str, Any]) -> int:
    names = {program["file"] for program in manifest["programs"]}
    return sum(int(manifest["files"][name]["size"]) for name in names)


def _words(order: Order, cell: Cell, source: Source) -> list[str]:
    """What follows `zoo compile` to build this one artifact again."""
    words = [*source.words]
    words += ["--backend", cell.backend, "--precision", cell.precision, "--batch", order.batch]
    words += ["--device", cell.device, "--target", order.target]
    words += ["--input", f"1x{'x'.join(map(str, source.shape))}"]
    words += ["--portable"] if order.portable else []
    if order.input_type != "float32":
        words += ["--input-type", order.input_type]
    if precision(cell.precision).quantised:
        words += ["--samples", str(order.num_samples)]
        words += ["--calibrate", str(order.calibrate)] if order.calibrate else []
    return words


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
