"""zoo compile: build an artifact for each backend and precision that was asked for."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from compile.backends import BACKENDS, DEFAULT, backend, check_portable
from compile.errors import NotBuildable, UsageError, ZooError, one_line
from compile.machine import LEVELS
from compile.precision import PRECISIONS, precision
from compile.report import show, to_json
from compile.spec import INPUT_TYPES, CompileSpec, parse_batch, parse_shape
from zoo.cli.cells import Cell, compile_table, plan, require_some
from zoo.cli.child_build import build_in_child
from zoo.cli.command import Command, changed, words
from zoo.cli.options import (
    ArtifactsOption,
    ModelArgument,
    QuietOption,
    RunnerOption,
    RunsOption,
    SeedOption,
    ThreadsOption,
    check_device,
    set_threads,
)
from zoo.cli.selecting import raise_worst, ready_runner
from zoo.cli.tables import StageLine

if TYPE_CHECKING:
    from compile.proof.prepared import PreparedModel
    from zoo.sources.source import Source

OF_THE_CALL = ("runs", "out", "threads", "runner", "force", "timeout", "json", "quiet")
"""Options that say how to build, not what: the command in the manifest leaves them out."""


@dataclass(frozen=True, kw_only=True)
class Compile(
    ModelArgument,
    RunsOption,
    ArtifactsOption,
    SeedOption,
    ThreadsOption,
    RunnerOption,
    QuietOption,
    Command,
):
    """Compile a network into artifacts that prove themselves."""

    backend: Annotated[str, Option(help=f"{', '.join(BACKENDS)} or all.")] = DEFAULT
    precision: Annotated[
        str, Option(help=f"{', '.join(PRECISIONS)} or all that a backend has.")
    ] = "fp32"
    batch: str = "1"
    """A batch, such as 8, or a range, such as 1:64."""
    input_: Annotated[str | None, Option(show_default="the model's own")] = None
    """Shape of one sample, as 1xCxHxW."""
    input_type: str = "float32"
    """float32, or uint8: NHWC bytes, normalised inside the program."""
    calibrate: Annotated[Path | None, Option(show_default="the training split")] = None
    """Folder of images for int8 and fp8."""
    samples: Annotated[int, Option(min=1, max=100_000)] = 256
    """How many images to calibrate with, at most."""
    target: str = "native"
    """-march level of CPU code: native, x86-64-v3, ..."""
    portable: bool = False
    """Build TensorRT engines that run on every GPU from Ampere on."""
    device: Annotated[str | None, Option(show_default="what the backend needs")] = None
    """cpu or cuda."""
    fresh: bool = False
    """Use seeded random weights instead of the newest run."""
    force: bool = False
    """Build again even what is up to date."""
    accept_error: Annotated[str | None, Option(show_default="none")] = None
    """Publish an artifact that fails its proof by up to so many bounds, such as 3x, or by any
    error; its status is then 'accepted'."""
    timeout: Annotated[float | None, Option(min=1)] = None
    """Stop each build after this many seconds; it runs in a child process."""

    def run(self) -> None:
        """Build every cell that can be built, print the table, and fail if a build failed."""
        cells = self.plan()
        self._check_effects(cells)
        source = self.source()
        if not self.json:
            show(f"{source.name} from {source.origin}")
        with StageLine(quiet=self.quiet or self.json) as tell:
            self.build(cells, source, tell)
        if self.json:
            rows = [_row(cell) for cell in cells]
            report = {"model": source.name, "source": source.origin, "cells": rows}
            print(to_json(report), end="")
        require_some(cells)
        if not self.json:
            show(*compile_table(cells))
        raise_worst([cell.located_failure() for cell in cells if cell.failed is not None])
        if not self.json:
            show("next: zoo check")

    def plan(self) -> list[Cell]:
        """The cells asked for. Refuses what cannot be meant, before anything is loaded."""
        cells = plan(self.backend, self.precision, self.device)  # before torch is imported
        self._check(cells)
        return cells

    def source(self) -> Source:
        """The network that MODEL means."""
        from zoo.sources.source import resolve

        set_threads(self.threads)
        with self._no_other_output():
            return resolve(
                self.model,
                runs=self.runs,
                fresh=self.fresh,
                seed=self.seed,
                shape=parse_shape(self.input_) if self.input_ else None,
            )

    def build(self, cells: list[Cell], source: Source, tell: Callable[[str], None]) -> None:
        """Build the cells that can be built here, and note in each what came out."""
        from zoo.api.compiling import prepare

        runner = ready_runner(self.runner)
        with self._no_other_output():
            possible = [cell for cell in cells if not cell.refused]
            quantised = any(precision(cell.precision).quantised for cell in possible)
            prepared = prepare(
                source,
                quantised=quantised,
                calibrate=self.calibrate,
                num_images=self.samples,
            )
            for cell in cells:
                if cell.refused is None:
                    _build(self, cell, source, prepared, runner, tell)

    def _no_other_output(self) -> AbstractContextManager[Any]:
        """With --json, what other people's networks print goes to stderr."""
        return redirect_stdout(sys.stderr) if self.json else nullcontext()

    def _check(self, cells: list[Cell]) -> None:
        """Refuse options that cannot be meant, before anything is loaded."""
        check_device(self.device or "cpu")
        smallest = (1, 1, 1)  # of a model whose own size is not known yet
        shape = parse_shape(self.input_) if self.input_ else smallest
        CompileSpec(shape=shape, batch=parse_batch(self.batch))
        parse_accept_error(self.accept_error)
        if self.input_type not in INPUT_TYPES:
            known = ", ".join(INPUT_TYPES)
            raise UsageError(f"unknown --input-type '{self.input_type}'; choose one of: {known}")
        if self.portable:
            check_portable([cell.backend for cell in cells])
        levels = ("native", *LEVELS)
        if self.target not in levels:
            raise UsageError(f"unknown target '{self.target}'; choose one of: {', '.join(levels)}")

    def _check_effects(self, cells: list[Cell]) -> None:
        """Refuse options that change nothing in any of the cells."""
        given = [flag for flag in ("--calibrate", "--samples") if flag in changed(self)]
        if given and not any(precision(cell.precision).quantised for cell in cells):
            known = " and ".join(name for name in PRECISIONS if precision(name).quantised)
            raise UsageError(f"{given[0]} has an effect for {known} alone; leave it out")
        if self.target != "native" and not any(
            backend(cell.backend).MACHINE_CODE for cell in cells
        ):
            known = " and ".join(name for name in BACKENDS if backend(name).MACHINE_CODE)
            raise UsageError(f"--target has an effect for the backend {known} alone; leave it out")


def parse_accept_error(text: str | None) -> bool | float:
    """`3x` or `3` as a number, `any` as True, None as False; UsageError for anything else."""
    if text in (None, "any"):
        return text == "any"
    factor = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)x?", str(text))
    if factor is None or float(factor[1]) <= 1:
        raise UsageError(
            f"--accept-error '{text}' does not say how much; give how many times its bound an "
            "error may be, such as 3x, or any"
        )
    return float(factor[1])


def rebuilding(options: Compile, cell: Cell, source: Source) -> Compile:
    """The options that build this one cell again, from the same weights."""
    quantised = precision(cell.precision).quantised
    return replace(
        options,
        model=str(source.run.folder) if source.run is not None else options.model,
        fresh=source.untrained,
        backend=cell.backend,
        precision=cell.precision,
        device=cell.device,
        input_=f"1x{'x'.join(map(str, source.shape))}",
        portable=options.portable and backend(cell.backend).PORTABLE,
        target=options.target if backend(cell.backend).MACHINE_CODE else "native",
        calibrate=options.calibrate if quantised else None,
        samples=options.samples if quantised else Compile.samples,
    )


def rebuild_command(options: Compile, cell: Cell, source: Source) -> str:
    """The command that the manifest keeps."""
    unused = () if precision(cell.precision).quantised else ("samples",)
    again = words(rebuilding(options, cell, source), without=(*OF_THE_CALL, *unused))
    return shlex.join(["zoo", "compile", *again])


def _build(
    options: Compile,
    cell: Cell,
    source: Source,
    prepared: PreparedModel,
    runner: Path | None,
    tell: Callable[[str], None],
) -> None:
    """Build one cell, and note in it what came out."""
    start = time.perf_counter()

    def stage(name: str) -> None:
        tell(f"{cell.name}: {name} ({time.perf_counter() - start:.0f} s)")

    try:
        with one_line("it cannot be built"):  # a cell that breaks does not end the others
            if options.timeout is None:
                _build_here(options, cell, source, prepared, runner, stage)
            else:
                stage(f"building, at most {options.timeout:g} s")
                _build_in_child(rebuilding(options, cell, source), cell, options.timeout)
    except UsageError:
        raise
    except NotBuildable as error:
        cell.refused = str(error).removeprefix(f"{cell.backend} ")
    except ZooError as error:
        cell.failed = error


def _build_here(
    options: Compile,
    cell: Cell,
    source: Source,
    prepared: PreparedModel,
    runner: Path | None,
    stage: Callable[[str], None],
) -> None:
    from compile.api import compile_module
    from zoo.api.compiling import manifest_model

    result = compile_module(
        prepared,
        CompileSpec(
            shape=source.shape,
            batch=parse_batch(options.batch),
            precision=cell.precision,
            device=cell.device,
            target=options.target,
            input_type=options.input_type,
            portable=options.portable and backend(cell.backend).PORTABLE,
        ),
        backend=cell.backend,
        root=options.out,
        model=manifest_model(source),
        force=options.force,
        accept_error=parse_accept_error(options.accept_error),
        runner=runner,
        command=rebuild_command(options, cell, source),
        progress=stage,
    )
    cell.note(result.path, result.manifest, built=result.built, seconds=result.seconds)


def _build_in_child(options: Compile, cell: Cell, timeout: float) -> None:
    from compile.artifact.manifest import read_manifest

    child = replace(options, timeout=None, json=True)
    report = build_in_child(words(child), options.out, timeout)
    path = Path(report["path"])
    cell.note(path, read_manifest(path), built=report["built"], seconds=report["seconds"])


def _row(cell: Cell) -> dict[str, Any]:
    """The cell as the JSON document has it."""
    row = asdict(replace(cell, failed=None))
    del row["num_bytes"]
    return row | {
        "path": str(cell.path) if cell.path else None,
        "failed": str(cell.failed) if cell.failed else None,
    }
