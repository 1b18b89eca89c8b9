"""The options of `zoo compile`: what they mean, and the command that builds one artifact again."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from typer import Option

from compile.backends import BACKENDS, DEFAULT, backend, check_gpus, check_portable
from compile.errors import UsageError
from compile.machine import LEVELS, has_level
from compile.precision import PRECISIONS, REFERENCE, precision
from compile.spec import INPUT_TYPES, CompileSpec, parse_batch, parse_gpus, parse_shape
from zoo.api.fastest import FASTEST, GOALS, Wish
from zoo.cli.cells import ALL, Cell, plan
from zoo.cli.command import Command, changed, parameters, words
from zoo.cli.options import (
    ArtifactsOption,
    ModelArgument,
    QuietOption,
    RunnerOption,
    RunsOption,
    SeedOption,
    ThreadsOption,
    check_device,
)
from zoo.sources.outputs import parse_outputs

if TYPE_CHECKING:
    from zoo.sources.source import Source

OF_THE_CHOICE = ("for_", "max_accuracy_loss", "keep_all")
"""Options that decide between artifacts; they have no effect on any of them."""

OF_THE_CALL = (
    *("runs", "out", "threads", "runner", "force", "timeout", "json", "quiet"),
    *OF_THE_CHOICE,
)
"""Options that say how to build, not what: the command in the manifest leaves them out."""


@dataclass(frozen=True, kw_only=True)
class CompileOptions(
    ModelArgument,
    RunsOption,
    ArtifactsOption,
    SeedOption,
    ThreadsOption,
    RunnerOption,
    QuietOption,
    Command,
):
    """What to build, and how."""

    backend: Annotated[
        str,
        Option(
            help=f"{', '.join(BACKENDS)} or all. Several have commas between them. {FASTEST} "
            "builds what zoo-run can run, compares it side by side, and keeps one; its "
            "manifest says why."
        ),
    ] = DEFAULT
    precision: Annotated[
        str,
        Option(
            help=f"{', '.join(PRECISIONS)} or all; or several, such as fp32,int8. all leaves out "
            "what the backend does not have and what this CPU only emulates."
        ),
    ] = REFERENCE
    batch: str = "1"
    """A batch, such as 8, or a range, such as 1:64."""
    input_: Annotated[str | None, Option(show_default="the model's own")] = None
    """Shape of one sample, as 1xCxHxW."""
    input_type: str = "float32"
    """float32, or uint8: NHWC bytes, normalised inside the program."""
    output: Annotated[tuple[str, ...], Option(show_default="what the network returns")] = ()
    """Outputs by name or path, such as features or c3,c4,mid=layer3.0.conv2; list shows all."""
    calibrate: Annotated[Path | None, Option(show_default="the training split")] = None
    """Folder of images for int8 and fp8."""
    samples: Annotated[int, Option(min=1, max=100_000)] = 256
    """How many images to calibrate with, at most."""
    target: str = "native"
    """-march level of CPU code: native, x86-64-v3, ... One that this CPU has not is built and not
    run; `zoo check` proves it where it can run."""
    portable: bool = False
    """Build TensorRT engines that run on every GPU from Ampere on."""
    gpu: Annotated[str | None, Option(show_default="the one of this machine")] = None
    """GPUs to build for without having them, such as sm_89,sm_120."""
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
    for_: Annotated[
        str,
        Option(
            help=f"What the {FASTEST} is chosen for: {GOALS[0]} of a call of the smallest --batch, "
            f"or {GOALS[1]} in calls of the largest."
        ),
    ] = GOALS[0]
    max_accuracy_loss: Annotated[
        float | None,
        Option(
            min=0,
            max=100,
            show_default="any",
            help=f"Percentage points of test accuracy that the {FASTEST} may lose. With it, every "
            "precision is tried, unless --precision names some.",
        ),
    ] = None
    keep_all: Annotated[
        bool,
        Option(
            help=f"Keep all that --backend {FASTEST} built. Without it, what this call built and "
            "did not choose is removed; an artifact that existed before is never removed."
        ),
    ] = False

    def plan(self) -> list[Cell]:
        """The cells asked for. Refuses what cannot be meant, before anything is loaded."""
        lowered = self.max_accuracy_loss is not None and self.precision == REFERENCE
        precision = ALL if lowered else self.precision
        gpus = parse_gpus(self.gpu) if self.gpu else ()
        cells = plan(self.backend, precision, self.device, gpus)  # before torch is imported
        self._check(cells)
        self._check_choice()
        return cells

    def wish(self) -> Wish:
        """What the fastest is to be. UsageError for an unknown --for."""
        return Wish(
            goal=self.for_,
            batch=parse_batch(self.batch),
            threads=self.threads,
            seed=self.seed,
            max_accuracy_loss=self.max_accuracy_loss,
            keep_all=self.keep_all,
        )

    def _check_choice(self) -> None:
        """Refuse options about the choice if there is none, and a choice of what failed."""
        self.wish()
        about = {each.flag for each in parameters(type(self)) if each.name in OF_THE_CHOICE}
        given = [flag for flag in changed(self) if flag in about]
        if self.backend != FASTEST and given:
            raise UsageError(f"{given[0]} is for --backend {FASTEST}; leave it out")
        if self.backend == FASTEST and not has_level(self.target):
            raise UsageError(
                f"--backend {FASTEST} compares on this machine, which has no {self.target}: take "
                "--target native"
            )
        if self.backend == FASTEST and self.accept_error is not None:
            raise UsageError(
                f"--backend {FASTEST} chooses among artifacts that are proved: leave out "
                "--accept-error"
            )

    def _check(self, cells: list[Cell]) -> None:
        """Refuse options that cannot be meant, before anything is loaded."""
        check_device(self.device or "cpu")
        shape = parse_shape(self.input_) if self.input_ else (1, 1, 1)  # that is not known yet
        CompileSpec(shape=shape, batch=parse_batch(self.batch))
        parse_outputs(self.output)
        parse_accept_error(self.accept_error)
        if self.input_type not in INPUT_TYPES:
            known = ", ".join(INPUT_TYPES)
            raise UsageError(f"unknown --input-type '{self.input_type}'; choose one of: {known}")
        if self.gpu and not any(backend(cell.backend).GPUS for cell in cells):
            check_gpus(cells[0].backend, cells[0].precision, [self.gpu])  # which says who takes it
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


AnyOptions = TypeVar("AnyOptions", bound=CompileOptions)


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


def rebuilding(options: AnyOptions, cell: Cell, source: Source) -> AnyOptions:
    """The options that build this one cell again, from the same weights."""
    quantised = precision(cell.precision).quantised
    unchosen = {name: getattr(CompileOptions, name) for name in OF_THE_CHOICE}
    return replace(
        options,
        **unchosen,
        model=str(source.run.folder) if source.run is not None else options.model,
        fresh=source.untrained,
        backend=cell.backend,
        precision=cell.precision,
        device=cell.device,
        input_=f"1x{'x'.join(map(str, source.shape))}",
        portable=options.portable and backend(cell.backend).PORTABLE,
        gpu=options.gpu if backend(cell.backend).GPUS else None,
        target=options.target if backend(cell.backend).MACHINE_CODE else "native",
        calibrate=options.calibrate if quantised else None,
        samples=options.samples if quantised else CompileOptions.samples,
    )


def rebuild_command(options: CompileOptions, cell: Cell, source: Source) -> str:
    """The command that the manifest keeps."""
    unused = () if precision(cell.precision).quantised else ("samples",)
    again = words(rebuilding(options, cell, source), without=(*OF_THE_CALL, *unused))
    return shlex.join(["zoo", "compile", *again])
