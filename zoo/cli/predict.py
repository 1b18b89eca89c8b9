"""zoo predict: the class of one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument

from zoo.cli.command import Command
from zoo.cli.options import JsonOption, RunsOption
from zoo.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Predict(RunsOption, JsonOption, Command):
    """Name the class of an image."""

    model: Annotated[str, Argument()]
    """A run's path or a model's name."""
    image: Annotated[Path, Argument()]
    """An image file; digits are light on dark."""

    def run(self) -> None:
        """Print the most likely classes with their probabilities."""
        from compile.report import show, to_json
        from zoo.sources.source import resolve
        from zoo.training.evaluate import predict

        source = resolve(self.model, runs=self.runs)
        if source.run is None:
            raise UsageError(
                f"'{self.model}' has no run to predict with; run `zoo train {self.model}`"
            )
        best = predict(source.run, self.image)
        if self.json:
            classes = [{"class": name, "probability": value} for name, value in best]
            report = {"image": str(self.image), "run": source.origin, "classes": classes}
            print(to_json(report), end="")
            return
        others = ", ".join(f"{name} {100 * value:.1f} %" for name, value in best[1:])
        show(
            f"{self.image}: {best[0][0]} ({100 * best[0][1]:.1f} %; then {others})",
            "next: zoo compile --backend all",
        )
