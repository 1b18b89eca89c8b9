"""Options that several commands share: the same name, meaning and default everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

RUNS = Path("runs")
ARTIFACTS = Path("artifacts")

Model = Annotated[
    str | None,
    Argument(help="A run's path or a model's name; without it the newest run.", show_default=False),
]
Runs = Annotated[Path, Option("--runs", help="Folder of the runs.")]
Out = Annotated[Path, Option("--out", help="Root folder to write to.")]
Artifacts = Annotated[Path, Option("--out", help="Root folder of the artifacts.")]
Seed = Annotated[int, Option(min=0, max=2**63 - 1, help="Everything random derives from it.")]
Device = Annotated[str | None, Option(help="cpu or cuda.", show_default="what the backend needs")]
TrainingDevice = Annotated[str | None, Option("--device", help="cpu or cuda.", show_default="cpu")]
Threads = Annotated[
    int | None, Option(min=1, max=1024, help="CPU threads.", show_default="all usable cores")
]
Runner = Annotated[
    Path | None,
    Option(help="The zoo-run to use.", show_default="on PATH, else in the checkout"),
]
Json = Annotated[bool, Option("--json", help="Print one JSON document on stdout, nothing else.")]
Quiet = Annotated[bool, Option("--quiet", help="Print no progress.")]


GO_ON: list[str] = []
"""How to go on with what a signal interrupted, if it can go on: `zoo.cli.main` ends with it."""


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
