"""A network and a saved program of it, side by side: how wrong the program is behind each block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from compile.artifact.programs import ProgramFile, chunk, padded
from compile.artifact.reading import Artifact
from compile.bisect.taps import open_taps
from compile.errors import BadArtifact, CheckFailed, UsageError
from compile.graphs.blocks import Key, blocks
from compile.graphs.taps import GraphTaps, Taps
from compile.network.prepare import FromBytes, eager_dtype
from compile.precision import REFERENCE, precision
from compile.proof import parity
from compile.proof.golden import Bounds, Golden, proof_of
from compile.proof.subject import Subject

Progress = Callable[[str], None]

_JITTER = 0.002
"""Part of int8's step by which a kernel may move a value before it is rounded: onnxruntime, for
one, rounds biases to the product of two scales (docs/log.md)."""

_K_OF_NOISE = 2.0
"""A program's values inside may be this much as wrong as that jitter makes them."""

_SAME_GRID = 1e-6
"""How far the outputs of one grid, computed in float64, may be apart; one value that is rounded to
another step moves them by more."""

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
    """PyTorch's own at the precision, one rounding step at least (int8: half of one)."""
    allowed: float
    """k times that and half a rounding step; at int8 more, where the grid's noise is larger."""
    ratio: float
    """Largest error over what is allowed; at most 1 passes."""


def final_point(error: torch.Tensor, golden: Golden, limit: Bounds) -> Point:
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


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """What a program is held to inside."""

    exact: GraphTaps
    """The network in float64."""
    eager: list[tuple[GraphTaps, int]]
    """As PyTorch computes it, one by one and all at once: graphs and the batch to run them at."""
    noisy: GraphTaps | None = None
    """A quantised one whose values are moved by as much as integer kernels may move them."""


def _float_reference(subject: Subject, name: str, rows: int) -> _Reference:
    """The folded network, and the same cast to the precision `name`."""
    wrappers = int(_casts(name))
    eager = [(GraphTaps(subject.graph(name), wrappers), 1)]
    with suppress(CheckFailed):  # it may insist on one sample at a time
        eager.append((GraphTaps(subject.graph(name, rows), wrappers), rows))
    return _Reference(exact=GraphTaps(subject.graph(REFERENCE, exact=True), 0), eager=eager)


def _grid_reference(subject: Subject, scheme: str, rows: int) -> _Reference:
    """The fake-quantised graph, which takes any batch."""
    eager = GraphTaps(subject.grid(scheme), 0)
    return _Reference(
        exact=GraphTaps(subject.grid(scheme, exact=True), 0),
        eager=[(eager, 1), (eager, rows)],
        noisy=GraphTaps(subject.grid(scheme, jitter=_JITTER), 0),
    )


def _casts(name: str) -> bool:
    """Whether a module around the network casts to the precision."""
    return eager_dtype(name) != torch.float32


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
        quantised = precision(self.precision).quantised
        self.scheme = manifest["quantization"]["scheme"] if quantised else ""
        self.reference = (
            _grid_reference(subject, self.scheme, len(self.rows))
            if quantised
            else _float_reference(subject, self.precision, len(self.rows))
        )
        if not self.reference.exact.steps.ends:
            raise UsageError(
                f"the {type(subject.module).__name__} has no named modules to tell apart; give its "
                "layers names, such as self.conv1 = nn.Conv2d(...)"
            )
        if quantised:
            self._check_grid()
        wrappers = int(_casts(self.precision)) + int(artifact.input.dtype == "uint8")
        self.taps = open_taps(artifact, program, wrappers)
        known = [self.taps.ends, *(taps.ends for taps, _ in self.reference.eager)]
        self.blocks = blocks(self.reference.exact.steps, set.intersection(*map(set, known)))

    def _check_grid(self) -> None:
        """Raise BadArtifact where the grid that was made again is not the artifact's."""
        exact, pixels = self.reference.exact, self._pixels()[self.rows]
        (found,) = _run(exact, [exact.output], pixels, (1, 1))
        off = _largest(_relative(found, self.golden.oracle[self.rows].flatten(1)))
        if off > _SAME_GRID:
            raise BadArtifact(
                f"calibrating again gives another grid than that of {self.artifact.path} (the "
                f"outputs differ by {off:.1e}), as another CPU, torch or torchao does; bisect it "
                "where it was built, or build it here with `zoo compile --force`"
            )

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
        truth = _run(self.reference.exact, _at(self.reference.exact, keys), pixels, (1, 1))

        def wrong(taps: Taps, x: torch.Tensor, batch: tuple[int, int]) -> list[float]:
            values = _run(taps, _at(taps, keys), x, batch)
            return [_largest(_relative(*pair)) for pair in zip(values, truth, strict=True)]

        row = precision(self.precision)
        rounded = self._rounded_pixels()[self.rows]
        ways = [wrong(taps, rounded, (n, n)) for taps, n in self.reference.eager]
        eager = [max(row.least, *errors) for errors in zip(*ways, strict=True)]
        allowed = [row.k * error + row.eps / 2 for error in eager]
        if self.reference.noisy is not None:
            noise = wrong(self.reference.noisy, rounded, (1, 1))
            allowed = list(map(max, allowed, [_K_OF_NOISE * error for error in noise]))
        x = self.golden.input[self.rows].contiguous()
        errors = wrong(self.taps, x, self.program.batch)
        return [
            Point(name=name, error=error, eager=own, allowed=most, ratio=error / most)
            for (name, _), error, own, most in zip(places, errors, eager, allowed, strict=True)
        ]

    def _pixels(self) -> torch.Tensor:
        """What the module sees of the golden samples, (N, C, H, W) float64."""
        x = self.golden.input.double()
        if self.artifact.input.dtype == "float32":
            return x
        mean, std = (
            torch.tensor(each, dtype=torch.float64)[:, None, None] for each in self._normalisation()
        )
        return (x.permute(0, 3, 1, 2) / 255 - mean) / std

    def _rounded_pixels(self) -> torch.Tensor:
        """The same in float32, with the error that normalising bytes in float32 makes."""
        x = self.golden.input
        if self.artifact.input.dtype == "float32":
            return x
        rounded: torch.Tensor = FromBytes(nn.Identity(), *self._normalisation())(x)
        return rounded

    def _normalisation(self) -> tuple[list[float], list[float]]:
        how = self.artifact.manifest["model"]["preprocessing"]
        if how is None:
            raise BadArtifact(f"{self.artifact.path} does not say how bytes are normalised")
        return how["mean"], how["std"]


def _at(taps: Taps, keys: Sequence[Key]) -> list[str]:
    return [taps.ends[key] for key in keys]


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
    """Root mean square error of each row over the size of the exact one; infinite for another
    number of values.
    """
    if value.shape != exact.shape:
        return torch.full((len(exact),), math.inf, dtype=torch.float64)
    typical = exact.square().mean(dim=1).sqrt()
    return parity.rmse(value, exact) / typical.clamp_min(1e-300)
