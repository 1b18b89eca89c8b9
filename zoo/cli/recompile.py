"""zoo recompile: build artifacts again, as the commands in their manifests say.

A manifest that another version of zoo wrote cannot be read as a whole, but its command can. The
command is a text from a file that somebody may have forged: it may choose what to build, of zoo's
networks, timm's and the runs below --runs, but no other file to read, no code to import, no program
to run and no place to write to.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from typer import Argument

from compile.artifact.manifest import MANIFEST, MANIFEST_HASH, MAX_BYTES, MAX_DEPTH
from compile.artifact.publishing import find_artifacts
from compile.artifact.strict_json import parse_object
from compile.errors import printable
from compile.files import read_regular
from compile.report import show, to_json
from zoo.api.fastest import FASTEST
from zoo.cli.cells import ALL, failures
from zoo.cli.command import Command, changed, parameters, parse
from zoo.cli.compile import Compile
from zoo.cli.compile_options import OF_THE_CALL
from zoo.cli.options import (
    ArtifactsOption,
    QuietOption,
    RunnerOption,
    RunsOption,
    ThreadsOption,
)
from zoo.cli.selecting import artifact_folder, raise_worst
from zoo.cli.surviving import Steps
from zoo.cli.tables import StageLine
from zoo.errors import BadArtifact, Unavailable, UsageError, ZooError
from zoo.models import names


@dataclass(frozen=True, kw_only=True)
class Recompile(RunsOption, ArtifactsOption, RunnerOption, ThreadsOption, QuietOption, Command):
    """Build artifacts again with the options that built them."""

    artifacts: Annotated[tuple[Path, ...], Argument()] = ()
    """Folders of artifacts; an older zoo may have built them."""
    all_: bool = False
    """Take every artifact below --out."""

    def run(self) -> None:
        """Print a line for each artifact. Raises the worst of the errors at the end."""
        folders = self._folders()
        rows: list[Rebuilt] = []
        errors: list[ZooError] = []
        with StageLine(quiet=self.quiet or self.json) as tell:
            for folder in folders:
                try:
                    row = self._rebuild(folder, tell)
                except (ZooError, OSError) as error:
                    refused = _refused(error)
                    row = Rebuilt(artifact=str(folder), error=str(refused))
                    errors.append(type(refused)(f"{folder}: {refused}"))
                rows.append(row)
                if not self.json:
                    show(row.line())
        if self.json:
            print(to_json({"artifacts": [asdict(row) for row in rows]}), end="")
        raise_worst(errors)
        if not self.json:
            show(self.next_line("check", "--all"))

    def _folders(self) -> list[Path]:
        if self.all_ == bool(self.artifacts):
            raise UsageError("give the folders of artifacts, or --all; `zoo list` shows them")
        folders = find_artifacts(self.out) if self.all_ else list(self.artifacts)
        for folder in folders:
            artifact_folder(folder)
        if not folders:
            raise UsageError(f"no artifact below {self.out}; build one with `zoo compile`")
        return folders

    def _rebuild(self, folder: Path, tell: StageLine) -> Rebuilt:
        start = time.perf_counter()
        command = recorded_command(folder)
        root = folder.resolve().parent.parent
        options = replace(
            trusted_options(command, self.runs),
            runs=self.runs,
            out=root if folder.resolve() in find_artifacts(root) else self.out,
            runner=self.runner,
            threads=self.threads,
            force=True,
            json=self.json,
        )
        try:
            cells = options.plan()
            options.build(cells, options.source(), tell, Steps())
        except UsageError as error:  # the user did not type these words
            raise BadArtifact(f"its command does not run here: {error}") from None
        (cell,) = cells
        raise_worst(failures(cells))
        if cell.path is None:
            raise Unavailable(f"{cell.backend} {cell.refused}")
        return Rebuilt(
            artifact=str(folder),
            path=str(folder if cell.path.resolve() == folder.resolve() else cell.path),
            seconds=time.perf_counter() - start,
        )


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What became of one artifact."""

    artifact: str
    path: str | None = None
    """Where the new one is: in its place, unless its weights or its name are different now."""
    seconds: float | None = None
    error: str | None = None

    def line(self) -> str:
        """For people; the error itself is printed at the end."""
        if self.path is None:
            return f"not rebuilt {self.artifact}"
        if self.path == self.artifact:
            return f"rebuilt {self.path} in {self.seconds:.1f} s"
        return f"built {self.path} in {self.seconds:.1f} s; {self.artifact} stays as it is"


def recorded_command(folder: Path) -> str:
    """`build.command` of an artifact's manifest, whatever its schema; nothing else is looked at.

    Raises BadArtifact if the manifest is missing or damaged, or holds no command.
    """
    try:
        digest = read_regular(folder / MANIFEST_HASH, 65)
        text = read_regular(folder / MANIFEST, MAX_BYTES)
    except OSError as error:
        raise BadArtifact(f"its manifest cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise BadArtifact(f"its manifest {error}") from None
    if digest != hashlib.sha256(text).hexdigest().encode() + b"\n":
        raise BadArtifact("its manifest is damaged; build it again with `zoo compile`")
    try:
        command = parse_object(text, depth=MAX_DEPTH)["build"]["command"]
    except (ValueError, KeyError, TypeError):
        command = None
    if not isinstance(command, str):
        raise BadArtifact("its manifest names no command; build it again with `zoo compile`")
    return command


def trusted_options(command: str, runs: Path) -> Compile:
    """What a command from a manifest means. Raises BadArtifact for what it may not choose."""
    try:
        first, second, *words = shlex.split(command)
        if (first, second) != ("zoo", "compile"):
            raise ValueError
        options = parse(Compile, words)
    except (ValueError, UsageError):
        raise BadArtifact(f"its command is not one of `zoo compile`: {_shown(command)}") from None
    of_the_call = {each.flag for each in parameters(Compile) if each.name in OF_THE_CALL}
    foreign = of_the_call & {*changed(options)}
    several = options.backend in (ALL, FASTEST) or options.precision == ALL
    if foreign or options.model is None or several or "," in options.precision:
        raise BadArtifact(f"its command does not build one artifact: {_shown(command)}")
    images = options.calibrate
    if not _may_choose(options.model, runs) or not (images is None or _lies_in(images, runs)):
        raise BadArtifact(
            f"it was built from {_shown(str(images or options.model))}, and a manifest may choose "
            f"only networks of zoo and timm, and runs below --runs {runs}; "
            f"if you trust it, run `{_shown(command)} --force`"
        )
    return options


def _may_choose(model: str, runs: Path) -> bool:
    """Whether MODEL is one of zoo's networks, one of timm's, or a run below `runs`."""
    timm = re.fullmatch(r"timm:[\w.-]+", model) is not None and not os.path.lexists(model)
    return timm or model in names() or _lies_in(Path(model), runs)


def _lies_in(path: Path, root: Path) -> bool:
    """Whether a path leads below `root`, also by links. Nothing is opened."""
    return path.resolve().is_relative_to(root.resolve())


def _shown(command: str) -> str:
    """On one line, without control characters, 300 characters at most."""
    plain = printable(command)
    return plain if len(plain) <= 300 else f"{plain[:300]}..."


def _refused(error: ZooError | OSError) -> ZooError:
    """The error as it is, or what a name in a command that no file can have amounts to."""
    if isinstance(error, ZooError):
        return error
    return BadArtifact(f"its command does not run here: {error.strerror}")
