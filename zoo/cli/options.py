"""Options that several commands share. Each is a class of its own that a command derives from.

So an option has one name, one meaning and one default, whichever command it belongs to.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

RUNS = Path("runs")
ARTIFACTS = Path("artifacts")


@dataclass(frozen=True, kw_only=True)
class ModelArgument:
    """MODEL, for commands that need a network."""

    model: Annotated[str | None, Argument()] = None
    """A run's path or a model's name; by default the newest run."""


@dataclass(frozen=True, kw_only=True)
class ArtifactsArgument:
    """Which artifacts a command is about."""

    what: Annotated[str | None, Argument(show_default="the newest")] = None
    """An artifact's path, or a model's name or run."""
    all_: bool = False
    """Take every artifact below --out."""

    def asked(self) -> list[str]:
        """The words that mean the same artifacts in another command."""
        return ["--all"] if self.all_ else [self.what] if self.what else []


@dataclass(frozen=True, kw_only=True)
class RunsOption:
    """Where the runs are."""

    runs: Path = RUNS
    """Root folder of the runs."""


@dataclass(frozen=True, kw_only=True)
class ArtifactsOption:
    """Where the artifacts are."""

    out: Path = ARTIFACTS
    """Root folder of the artifacts."""

    def next_line(self, *words: str) -> str:
        """The command to run next, about the artifacts in the same place."""
        where = [] if self.out == ARTIFACTS else ["--out", str(self.out)]
        return f"next: {shlex.join(['zoo', *words, *where])}"


@dataclass(frozen=True, kw_only=True)
class SeedOption:
    """For whatever is drawn at random."""

    seed: Annotated[int, Option(min=0, max=2**63 - 1)] = 0
    """All random numbers derive from it."""


@dataclass(frozen=True, kw_only=True)
class DeviceOption:
    """Where a network is trained."""

    device: Annotated[str | None, Option(show_default="cpu")] = None
    """cpu or cuda."""


@dataclass(frozen=True, kw_only=True)
class ThreadsOption:
    """How much of the CPU is used."""

    threads: Annotated[int | None, Option(min=1, max=1024, show_default="all usable cores")] = None
    """CPU threads."""


@dataclass(frozen=True, kw_only=True)
class RunnerOption:
    """Which zoo-run is used."""

    runner: Annotated[Path | None, Option(show_default="on PATH, else in the checkout")] = None
    """The zoo-run to use."""


@dataclass(frozen=True, kw_only=True)
class JsonOption:
    """For commands that print a report."""

    json: bool = False
    """Print one JSON document on stdout, nothing else."""


@dataclass(frozen=True, kw_only=True)
class QuietOption(JsonOption):
    """For commands that print a report, and their progress while they work."""

    quiet: bool = False
    """Print no progress."""


def set_threads(threads: int | None) -> None:
    """Let torch use this many threads in this process."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def check_device(device: str) -> None:
    """Raise UsageError for an unknown device, Unavailable for cuda on a machine without."""
    from zoo.errors import Unavailable, UsageError

    if device not in ("cpu", "cuda"):
        raise UsageError(f"unknown --device '{device}'; choose cpu or cuda")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise Unavailable("--device cuda: no NVIDIA GPU with a driver here; use --device cpu")
