"""A network and a saved program of it, side by side: how wrong the program is behind each block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from compile.artifact.programs import ProgramFile, chunk, padded
from compile.artifact.reading import Artifact
from compile.bisect.points import Ending, Point, final_point, largest
from compile.bisect.reference import casts, float_reference, grid_reference
from compile.bisect.taps import open_taps
from compile.errors import BadArtifact, UsageError
from compile.graphs.blocks import Key, blocks
from compile.graphs.taps import Taps
from compile.network.pixels import normalisation_of
from compile.precision import precision
from compile.proof import parity
from compile.proof.prepared import PreparedModel
from compile.proof.ways import ORDERS, InOrder

Progress = Callable[[str], None]

_K_OF_NOISE = 2.0
"""A program's values inside may be this many times as wrong as those of the noisy reference."""

_SAME_GRID = 1e-6
"""Largest relative difference between the outputs of one grid, computed twice in float64. A single
value that is rounded to another step makes a larger one."""

INNER_ROWS = (0, 1, 2, 3, 8, 9, 10, 11)
"""Golden samples that are followed through the network, beside the one whose output is most wrong.
The output itself is held to all golden samples."""


class Comparison:
    """A network and a saved program of it, side by side."""

    def __init__(
        self,
        artifact: Artifact,
        program: ProgramFile,
        prepared: PreparedModel,
        ending: Ending,
        progress: Progress,
    ) -> None:
        """`ending` is the output that is followed."""
        self.artifact, self.program, self.prepared = artifact, program, prepared
        self.progress = progress
        self.precision = artifact.manifest["precision"]
        self.ending, self.golden = ending, ending.golden
        followed = torch.zeros(len(self.golden.input), dtype=torch.bool)
        followed[[*INNER_ROWS, ending.row]] = True
        self.inner = self.golden.take(followed)
        self.pixels, self.float32_pixels = _pixels(artifact, self.inner.input)
        self.scheme = ""
        rows = len(self.inner.input)
        if precision(self.precision).quantised:
            self.scheme = artifact.manifest["quantization"]["scheme"]
            self.reference = grid_reference(prepared.quantised_tasks.graph(self.scheme), rows)
        else:
            self.reference = float_reference(prepared.network, self.precision, rows)
        if not self.reference.exact.steps.ends:
            raise UsageError(
                f"the {type(prepared.network.given).__name__} has no named modules to tell apart; "
                "give its layers names, such as self.conv1 = nn.Conv2d(...)"
            )
        if self.scheme:
            self._check_grid()
        wrappers = int(casts(self.precision)) + int(artifact.input.dtype == "uint8")
        self.taps = open_taps(artifact, program, wrappers)
        known = [self.taps.ends, *(taps.ends for taps, _ in self.reference.eager)]
        self.blocks = blocks(self.reference.exact.steps, set.intersection(*map(set, known)))

    def _check_grid(self) -> None:
        """Raise BadArtifact if calibrating again gave another grid than the artifact's."""
        exact = self.reference.exact
        (output,) = _run(exact, [exact.outputs[self.ending.number]], self.pixels, (1, 1))
        rows = self.inner.layout.join(output)
        difference = largest(_relative(rows, self.inner.oracle))
        if difference > _SAME_GRID:
            raise BadArtifact(
                f"calibrating again gives another grid than that of {self.artifact.path} (the "
                f"outputs differ by {difference:.1e}), as another CPU, torch or torchao does; "
                "bisect it where it was built, or build it here with `zoo compile --force`"
            )

    def whole(self) -> Point:
        """The output's error where the program is run, or compiled, the way the blocks are."""
        self.progress("the whole network")
        name = self.taps.outputs[self.ending.number]
        (output,) = _run(self.taps, [name], self.golden.input, self.program.batch)
        error = parity.errors(self.golden.layout.join(output), self.golden)
        return final_point(error, self.golden, self.ending.bounds, self.ending.point.name)

    def block_of(self, ending: Ending) -> int:
        """The index of the block in which an output is made."""
        steps = self.reference.exact.steps
        made = [each.output for each in steps.operations]
        output = steps.outputs[ending.number]
        index = made.index(output) if output in made else 0  # it may be the image itself
        ends = (block.end for block in self.blocks)
        return next(i for i, end in enumerate(ends) if end is None or index <= end.index)

    def measure(self, places: Sequence[tuple[str, Key]]) -> list[Point]:
        """The errors at the ends `places`, each with the name to report."""
        self.progress(", ".join(name for name, _ in places[:2]) + ", ..." * (len(places) > 2))
        keys = [key for _, key in places]
        exact = _values(self.reference.exact, keys, self.pixels, (1, 1))
        eager = self._eager_errors(keys, exact)
        allowed = self._allowed(keys, exact, eager)
        values = _values(self.taps, keys, self.inner.input.contiguous(), self.program.batch)
        errors = _errors(values, exact)
        return [
            Point(name=name, error=error, eager=own, allowed=most, ratio=error / most)
            for (name, _), error, own, most in zip(places, errors, eager, allowed, strict=True)
        ]

    def _eager_errors(self, keys: Sequence[Key], exact: Sequence[torch.Tensor]) -> list[float]:
        """PyTorch's own error at each end: the largest of the ways to run it."""

        def errors(taps: Taps, batch: int) -> list[float]:
            return _errors(_values(taps, keys, self.float32_pixels, (batch, batch)), exact)

        ways = [errors(taps, batch) for taps, batch in self.reference.eager]
        for order in ORDERS:
            with InOrder(order):
                ways.append(errors(*self.reference.eager[0]))
        least = precision(self.precision).least
        return [max(least, *errors) for errors in zip(*ways, strict=True)]

    def _allowed(
        self, keys: Sequence[Key], exact: Sequence[torch.Tensor], eager: Sequence[float]
    ) -> list[float]:
        """The largest error that passes at each end."""
        row = precision(self.precision)
        allowed = [row.k * error + row.eps / 2 for error in eager]
        if self.reference.noisy is None:
            return allowed
        noise = _errors(_values(self.reference.noisy, keys, self.float32_pixels, (1, 1)), exact)
        return [max(most, _K_OF_NOISE * error) for most, error in zip(allowed, noise, strict=True)]


def _pixels(artifact: Artifact, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the module sees of an input x, (N, C, H, W): exactly in float64, and in float32.

    Where x is bytes, normalising them in float32 makes an error.
    """
    if artifact.input.dtype == "float32":
        return x.double(), x
    normalisation = normalisation_of(artifact)
    return normalisation.pixels(x), normalisation.float32_pixels(x)


def _values(
    taps: Taps, keys: Sequence[Key], x: torch.Tensor, batch: tuple[int, int]
) -> list[torch.Tensor]:
    """The values at each end for all rows of x: (rows, values) each."""
    return _run(taps, [taps.ends[key] for key in keys], x, batch)


def _errors(values: Sequence[torch.Tensor], exact: Sequence[torch.Tensor]) -> list[float]:
    """The largest relative error of each tensor's rows."""
    return [largest(_relative(*pair)) for pair in zip(values, exact, strict=True)]


def _run(
    taps: Taps, outputs: Sequence[str], x: torch.Tensor, batch: tuple[int, int]
) -> list[torch.Tensor]:
    """The values of all rows of x, each (rows, values), through a program of batches min..max."""
    size = chunk(len(x), batch)
    chunks = torch.split(padded(x, batch), size)
    run = taps.tap(outputs)
    parts = [[value.reshape(size, -1) for value in run(rows)] for rows in chunks]
    return [torch.cat(values)[: len(x)] for values in zip(*parts, strict=True)]


def _relative(value: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Root mean square error of each row, relative to the size of the exact row: (rows,) float64.

    It is infinite if the two have different numbers of values.
    """
    if value.shape != exact.shape:
        return torch.full((len(exact),), math.inf, dtype=torch.float64)
    size = exact.square().mean(dim=1).sqrt()
    return (value.double() - exact).square().mean(dim=1).sqrt() / size.clamp_min(1e-300)
