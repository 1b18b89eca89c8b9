"""zoo compile: build an artifact for each backend and precision that was asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compile.advice import no_runner
from compile.backends import backend
from compile.errors import NotBuildable, Unavailable, UsageError, ZooError, one_line
from compile.precision import precision
from compile.report import show, to_json
from compile.spec import CompileSpec, parse_batch, parse_gpus, parse_shape
from zoo.api.fastest import FASTEST
from zoo.cli.cells import Cell, compile_table, failures, require_some
from zoo.cli.child_build import build_in_child
from zoo.cli.command import words
from zoo.cli.compile_options import (
    CompileOptions,
    parse_accept_error,
    rebuild_command,
    rebuilding,
)
from zoo.cli.fastest import fastest_entries, fastest_table, leave_out, take_fastest
from zoo.cli.options import set_threads
from zoo.cli.output_list import list_outputs
from zoo.cli.selecting import raise_worst, ready_runner
from zoo.cli.surviving import Steps, in_child
from zoo.cli.tables import StageLine
from zoo.sources.outputs import LIST, find_outputs, parse_outputs

if TYPE_CHECKING:
    from compile.proof.prepared import PreparedModel
    from zoo.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class Compile(CompileOptions):
    """Compile a network into artifacts that prove themselves."""

    def run(self) -> None:
        """Build every cell that can be built, print the table, and fail if a build failed."""
        if self.output == (LIST,):
            list_outputs(self.source(), json=self.json)
            return
        cells = self.plan()
        self._check_effects(cells)
        steps = in_child()
        source = self.source()
        if not self.json and not steps.ended:
            show(f"{source.name} from {source.origin}")
        if self.backend == FASTEST:
            self._keep_fastest(cells, source, steps)
            return
        with StageLine(quiet=self.quiet or self.json) as tell:
            self.build(cells, source, tell, steps)
        if self.json:
            print(to_json(_document(cells, source)), end="")
        require_some(cells)
        if not self.json:
            show(*compile_table(cells))
        raise_worst(failures(cells))
        if not self.json and any(cell.status in ("proved", "accepted") for cell in cells):
            show(self.next_line("check"))

    def _keep_fastest(self, cells: list[Cell], source: Source, steps: Steps) -> None:
        """Build the candidates, compare them, keep one, and print the table and the choice."""
        from compile.artifact.publishing import find_artifacts

        runner = ready_runner(self.runner)
        if runner is None:
            raise Unavailable(no_runner("comparing"))
        leave_out(cells, runner, source, self.max_accuracy_loss)
        before = find_artifacts(self.out)
        with StageLine(quiet=self.quiet or self.json) as tell:
            self.build(cells, source, tell, steps)
            fastest = take_fastest(cells, runner, self.wish(), source, before, tell)
        if self.json:
            print(to_json(_document(cells, source) | fastest_entries(fastest)), end="")
        else:
            show(*fastest_table(fastest, cells), f"next: zoo check {fastest.path}")

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

    def build(
        self, cells: list[Cell], source: Source, tell: Callable[[str], None], steps: Steps
    ) -> None:
        """Build the cells that can be built here, and note in each what came out."""
        from zoo.api.preparing import prepare

        runner = ready_runner(self.runner)
        with self._no_other_output():
            possible = [cell for cell in cells if not cell.refused]
            quantised = any(precision(cell.precision).quantised for cell in possible)
            prepared = prepare(
                source,
                outputs=find_outputs(source, parse_outputs(self.output)),
                quantised=quantised,
                calibrate=self.calibrate,
                num_images=self.samples,
            )
            for cell in cells:
                if cell.refused is None:
                    _build(self, cell, source, prepared, runner, tell, steps)

    def _no_other_output(self) -> AbstractContextManager[Any]:
        """With --json, what other people's networks print goes to stderr."""
        return redirect_stdout(sys.stderr) if self.json else nullcontext()


def _build(
    options: Compile,
    cell: Cell,
    source: Source,
    prepared: PreparedModel,
    runner: Path | None,
    tell: Callable[[str], None],
    steps: Steps,
) -> None:
    """Build one cell, and note in it what came out."""
    start = time.perf_counter()

    def stage(name: str) -> None:
        tell(f"{cell.name}: {name} ({time.perf_counter() - start:.0f} s)")

    try:
        # a cell that breaks, or crashes, does not end the others
        with steps.step(cell.name), one_line("it cannot be built"):
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
    from zoo.api.preparing import manifest_model

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
            gpus=parse_gpus(options.gpu) if options.gpu and backend(cell.backend).GPUS else (),
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


def _document(cells: list[Cell], source: Source) -> dict[str, Any]:
    """What --json prints."""
    return {
        "model": source.name,
        "source": source.origin,
        "cells": [_row(cell) for cell in cells],
    }


def _row(cell: Cell) -> dict[str, Any]:
    """The cell as the JSON document has it."""
    row = asdict(replace(cell, failed=None))
    del row["num_bytes"]
    return row | {
        "path": str(cell.path) if cell.path else None,
        "failed": str(cell.failed) if cell.failed else None,
    }
