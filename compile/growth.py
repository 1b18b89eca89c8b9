"""A network and a saved program of it, side by side: how wrong the program is behind each block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from compile import parity
from compile.artifact import Artifact
from compile.backends.base import ProgramFile
from compile.blocks import Key, blocks
from compile.check import proof_of
from compile.errors import BadArtifact, CheckFailed, UsageError
from compile.precision import precision
from compile.prepare import eager_dtype
from compile.subject import Subject
from compile.taps import GraphTaps, Taps, open_taps

Progress = Callable[[str], None]

INNER_ROWS = (0, 1, 2, 3, 8, 9, 10, 11)
"""The golden samples that are followed through the network, beside the one whose output is most
wrong; the output itself is held to all of them."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """How wrong the program is behind one block. Errors are relative: over the values' own size."""

    name: str
    error: float
    """Largest root mean square error of the samples; infinity where the shapes differ."""
    eager: float
    """PyTorch's own at the precision, one rounding step at least."""
    allowed: float
    """k times that and half a rounding step."""
    ratio: float
    """Largest error over what is allowed; at most 1 passes."""


def final_point(error: torch.Tensor, golden: parity.Golden, limit: parity.Bounds) -> Point:
    """The point of the network's output, of its errors (N,), as `zoo check` judges them: the
    sample that is furthest beyond its bound, or nearest to it.
    """
    ratios = parity.share(error, limit.bound)
    worst = int(ratios.argmax())  # NaN is the largest of all
    typical = golden.oracle[worst].square().mean().sqrt().clamp_min(1e-300)
    values = (error[worst] / typical, limit.e_eager[worst] / typical, limit.bound[worst] / typical)
    wrong, eager, allowed = map(_largest, values)
    return Point(
        name="output", error=wrong, eager=eager, allowed=allowed, ratio=_largest(ratios[worst])
    )


def _largest(values: torch.Tensor) -> float:
    """The largest value; NaN counts as infinite."""
    return float(values.nan_to_num(nan=math.inf, posinf=math.inf).max())


class Network:
    """The module and the saved program, side by side."""

    def __init__(
        self,
        artifact: Artifact,
        program: ProgramFile,
        subject: Subject,
        worst: int,
        progress: Progress,
    ) -> None:
        """`worst` is the golden row whose output is most wrong."""
        manifest = artifact.manifest
        self.artifact, self.program, self.subject = artifact, program, subject
        self.progress = progress
        self.golden, self.limit = proof_of(artifact)
        self.precision = manifest["precision"]
        self.rows = torch.tensor(sorted({*INNER_ROWS, worst}))
        casts = eager_dtype(self.precision) != torch.float32
        self.exact = GraphTaps(subject.graph("fp32", exact=True), 0)
        if not self.exact.steps.ends:
            raise UsageError(
                f"the {type(subject.module).__name__} has no named modules to tell apart; give its "
                "layers names, such as self.conv1 = nn.Conv2d(...)"
            )
        self.eager = [GraphTaps(subject.graph(self.precision), int(casts))]
        with suppress(CheckFailed):  # it may insist on one sample at a time
            at_once = subject.graph(self.precision, len(self.rows))
            self.eager.append(GraphTaps(at_once, int(casts)))
        wrappers = int(casts) + int(artifact.input.dtype == "uint8")
        self.taps = open_taps(artifact, program, wrappers)
        known = [each.ends for each in (self.taps, *self.eager)]
        self.blocks = blocks(self.exact.steps, set.intersection(*map(set, known)))

    def whole(self) -> Point:
        """The output's error where the program is run, or compiled, the way the blocks are."""
        self.progress("the whole network")
        (out,) = _run(self.taps, [self.taps.output], self.golden.input, self.program.batch)
        return final_point(parity.rmse(out, self.golden.oracle), self.golden, self.limit)

    def measure(self, places: Sequence[tuple[str, Key]]) -> list[Point]:
        """The errors at the ends `places`, each with the name to report."""
        self.progress(", ".join(name for name, _ in places[:2]) + ", ..." * (len(places) > 2))
        keys = [key for _, key in places]
        pixels = self._pixels()[self.rows]
        truth = _run(self.exact, _at(self.exact, keys), pixels, (1, 1))
        row = precision(self.precision)
        relative = [row.eps] * len(keys)
        for i, taps in enumerate(self.eager):
            batch = (1, 1) if i == 0 else (len(self.rows),) * 2
            values = _run(taps, _at(taps, keys), pixels.float(), batch)
            pairs = zip(relative, values, truth, strict=True)
            relative = [max(least, _largest(_relative(*pair))) for least, *pair in pairs]
        x = self.golden.input[self.rows].contiguous()
        values = _run(self.taps, _at(self.taps, keys), x, self.program.batch)
        points = []
        for (name, _), eager, value, exact in zip(places, relative, values, truth, strict=True):
            error = _largest(_relative(value, exact))
            allowed = row.k * eager + row.eps / 2
            points.append(
                Point(name=name, error=error, eager=eager, allowed=allowed, ratio=error / allowed)
            )
        return points

    def _pixels(self) -> torch.Tensor:
        """What the module sees of the golden samples, (N, C, H, W) float64."""
        x = self.golden.input.double()
        if self.artifact.input.dtype == "float32":
            return x
        how = self.artifact.manifest["model"]["preprocessing"]
        if how is None:
            raise BadArtifact(f"{self.artifact.path} does not say how bytes are normalised")
        mean, std = (
            torch.tensor(how[key], dtype=torch.float64)[:, None, None] for key in ("mean", "std")
        )
        return (x.permute(0, 3, 1, 2) / 255 - mean) / std


def _at(taps: Taps, keys: Sequence[Key]) -> list[str]:
    return [taps.ends[key] for key in keys]


def _run(
    taps: Taps, outputs: Sequence[str], x: torch.Tensor, batch: tuple[int, int]
) -> list[torch.Tensor]:
    """The values of all rows of x, each (rows, values), through a program of batches min..max."""
    size = parity.chunk(len(x), batch)
    chunks = torch.split(parity.padded(x, batch), size)
    run = taps.tap(outputs)
    parts = [[value.reshape(size, -1) for value in run(rows)] for rows in chunks]
    return [torch.cat(values)[: len(x)] for values in zip(*parts, strict=True)]


def _relative(value: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """Root mean square error of each row over the size of the exact one; infinite for another
    number of values.
    """
    if value.shape != exact.shape:
        return torch.full((len(exact),), math.inf, dtype=torch.float64)
    typical = exact.square().mean(dim=1).sqrt()
    return parity.rmse(value, exact) / typical.clamp_min(1e-300)
