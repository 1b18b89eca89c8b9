"""zoo import: make a run of weights from elsewhere."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from zoo.cli.command import Command
from zoo.cli.options import RUNS, JsonOption, SeedOption


@dataclass(frozen=True, kw_only=True)
class Import(SeedOption, JsonOption, Command):
    """Make a run of weights from elsewhere."""

    model: Annotated[str, Argument()]
    """A name that `zoo list` shows."""
    weights: Path
    """A .pth or .safetensors file, such as torchvision's or timm's."""
    classes: Annotated[str | None, Option(show_default="the file's")] = None
    """The number of classes, or a text file with one name on each line."""
    key: Annotated[str | None, Option(show_default="the only one")] = None
    """The entry to read from a checkpoint that holds several."""
    set_: tuple[str, ...] = ()
    """Preprocessing, such as resize=232; repeatable."""
    out: Path = RUNS
    """Root folder of the runs."""

    def run(self) -> None:
        """Write the run, and print where it is and what to know of it."""
        from compile.report import show, to_json
        from zoo.exchange import import_weights
        from zoo.exchange.importing import read_classes

        imported = import_weights(
            self.model,
            self.weights,
            classes=read_classes(self.classes) if self.classes is not None else None,
            out=self.out,
            key=self.key,
            settings=list(self.set_),
            seed=self.seed,
        )
        folder, config = imported.run.folder, imported.run.config
        if self.json:
            report = {
                "run": str(folder),
                "model": self.model,
                "options": config.options,
                "source": config.source,
                "preprocessing": config.preprocessing,
                "notes": imported.notes,
            }
            print(to_json(report), end="")
            return
        show(
            f"imported {folder}: {self.model}, {config.options['num_classes']} classes",
            *(f"- {note}" for note in imported.notes),
            f"next: zoo compile {shlex.quote(str(folder))} --backend all",
        )
