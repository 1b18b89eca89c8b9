"""Shows how far training is, on stderr: a bar on a terminal, else one line for each epoch."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich import progress
from rich.console import Console


class EpochBar:
    """Shows the progress of `epochs` epochs inside a `with` block. With `quiet` it shows nothing.

    rich respects NO_COLOR and TERM=dumb. The lines fit into 80 columns.
    """

    def __init__(self, epochs: int, *, quiet: bool = False) -> None:
        self._epochs = epochs
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._bar = progress.Progress(
            progress.BarColumn(bar_width=20),
            progress.TextColumn("{task.description}"),
            progress.TimeRemainingColumn(),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(f"epoch 1/{epochs}", total=1.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def step(self, share: float) -> None:
        """Show how much of all training is done, 0..1."""
        self._bar.update(self._task, completed=share)

    def epoch(self, number: int, loss: float, accuracy: float, images_per_s: float) -> None:
        """Show the results of an epoch. `number` counts from 1, `accuracy` is 0..1."""
        text = (
            f"epoch {number}/{self._epochs}  loss {loss:.3f}  "
            f"accuracy {100 * accuracy:.1f} %  {images_per_s:.0f} images/s"
        )
        self._bar.update(self._task, description=text)
        if self._bar.disable and not self._quiet:
            self._console.print(text, soft_wrap=True)
