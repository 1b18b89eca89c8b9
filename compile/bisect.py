"""Which block of a network makes a compiled program wrong. docs/parity.md explains the rule.

The program's values inside are held to the same rule as its outputs: against the folded module in
float64, at most k times as wrong as PyTorch at that precision. The culprit is the block behind
which they no longer are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from compile import gates, parity
from compile.artifact import Artifact, open_artifact
from compile.backends import backend
from compile.backends.base import ProgramFile, exported
from compile.blocks import Block, Key, blocks
from compile.check import proof_of
from compile.errors import BadArtifact, UsageError
from compile.loading import load_artifact
from compile.precision import QUANTIZED, precision
from compile.prepare import cast, eager_dtype
from compile.spec import CompileSpec
from compile.subject import Subject
from compile.taps import GraphTaps, Taps, open_taps

Progress = Callable[[str], None]

INNER_ROWS = (0, 1, 2, 3, 8, 9, 10, 11)
"""The golden samples that are followed through the network; its output is held to all sixteen."""

_AT_ONCE = 8
"""Blocks measured in one run: their values are all in memory."""

_UNREMARKABLE = 0.5
"""Below this share of what is allowed, growth means nothing."""


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


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `bisect` found."""

    artifact: str
    backend: str
    precision: str
    batch: str
    """The batches of the program that was looked into: of several, the one that is most wrong."""
    blocks: list[str]
    """All blocks, in order."""
    points: list[Point]
    """Those that were measured, in order; the last is the network's output."""
    culprit: str | None
    """The block that makes the program wrong; None where none stands out."""
    inside: str | None
    """The first module inside the culprit behind which the values are wrong, where known."""
    passed: bool
    """Whether nothing was found wrong."""
    reason: str
    """What was found, in one sentence."""


def bisect(
    path: Path,
    subject: Subject,
    *,
    full: bool = False,
    progress: Progress = lambda stage: None,
) -> Report:
    """Find the first block whose error is beyond what is allowed.

    Args:
        path: the artifact's folder; only its own files are run.
        subject: the module that it was built from.
        full: measure every block instead of halving the network until one is left.

    Raises UsageError for an artifact that cannot be looked into (a TensorRT engine, CUDA, int8),
    BadArtifact for one that is damaged, or was built from other weights.
    """
    artifact = open_artifact(path)
    _check(artifact, subject)
    program, final = _output(artifact)
    if final.ratio <= 1 and not full:
        return _report(artifact, program, _Found(points=[final]), [])
    progress("export the module")
    network = _Network(artifact, program, subject, progress)
    found = _in_full(network, final) if full else _by_halves(network, final)
    return _report(artifact, program, found, network.blocks)


def _check(artifact: Artifact, subject: Subject) -> None:
    manifest, where = artifact.manifest, artifact.path
    if manifest["device"] != "cpu":
        raise UsageError(f"{where} is for {manifest['device']}; bisect follows programs on the CPU")
    if manifest["precision"] in QUANTIZED:
        raise UsageError(
            f"{where} is {manifest['precision']}, whose graph does not name the modules that its "
            "steps came from; bisect the fp32 artifact of the same network and backend"
        )
    built_from = manifest["model"]["weights_sha256"]
    if subject.sha256 != built_from:
        raise BadArtifact(
            f"{where} was built from the weights {built_from[:8]}, the model given has "
            f"{subject.sha256[:8]}; name its source with --model"
        )


def _output(artifact: Artifact) -> tuple[ProgramFile, Point]:
    """The program that is most wrong, and its output's error, as `zoo check` judges it."""
    golden, limit = proof_of(artifact)
    run = load_artifact(artifact)
    found = []
    for program in artifact.programs:
        out = parity.run_rows(run, golden.input, program.batch)
        found.append((program, _final(parity.rmse(out, golden.oracle), golden, limit)))
    return max(found, key=lambda each: each[1].ratio)


def _final(error: torch.Tensor, golden: parity.Golden, limit: parity.Bounds) -> Point:
    typical = golden.oracle.square().mean(dim=1).sqrt().clamp_min(1e-300)
    return Point(
        name="output",
        error=_largest(error / typical),
        eager=_largest(limit.e_eager / typical),
        allowed=_largest(limit.bound / typical),
        ratio=_largest(error / limit.bound),
    )


def _largest(values: torch.Tensor) -> float:
    """The largest value; NaN counts as infinite."""
    return float(values.nan_to_num(nan=math.inf, posinf=math.inf).max())


class _Network:
    """The module and the saved program, side by side."""

    def __init__(
        self, artifact: Artifact, program: ProgramFile, subject: Subject, progress: Progress
    ) -> None:
        manifest = artifact.manifest
        self.artifact, self.program, self.subject = artifact, program, subject
        self.progress = progress
        self.golden, self.limit = proof_of(artifact)
        self.precision = manifest["precision"]
        casts = eager_dtype(self.precision) != torch.float32
        folded = subject.folded
        one = CompileSpec(shape=subject.shape)
        together = CompileSpec(shape=subject.shape, batch=(len(INNER_ROWS),) * 2)
        self.exact = GraphTaps(exported(cast(folded, "fp32"), one).module().double(), 0)
        self.eager = [GraphTaps(exported(cast(folded, self.precision), one).module(), int(casts))]
        try:
            at_once = exported(cast(folded, self.precision), together).module()
            self.eager.append(GraphTaps(at_once, int(casts)))
        except Exception:  # a module may insist on one sample at a time
            pass
        wrappers = int(casts) + int(artifact.input.dtype == "uint8")
        self.taps = open_taps(artifact, program, wrappers)
        known = [_outputs(each) for each in (self.taps, *self.eager)]
        self.blocks = blocks(self.exact.steps, set.intersection(*map(set, known)))

    def whole(self) -> Point:
        """The output's error where the program is run, or compiled, the way the blocks are."""
        self.progress("the whole network")
        (out,) = _run(self.taps, [self.taps.steps.output], self.golden.input, self.program.batch)
        return _final(parity.rmse(out, self.golden.oracle), self.golden, self.limit)

    def measure(self, places: Sequence[tuple[str, Key]]) -> list[Point]:
        """The errors at the ends `places`, each with the name to report."""
        self.progress(", ".join(name for name, _ in places[:2]) + ", ..." * (len(places) > 2))
        keys = [key for _, key in places]
        index = torch.tensor(INNER_ROWS)
        pixels = self._pixels()[index]
        truth = _run(self.exact, _at(self.exact, keys), pixels, (1, 1))
        row = precision(self.precision)
        relative = [row.eps] * len(keys)
        for i, taps in enumerate(self.eager):
            batch = (1, 1) if i == 0 else (len(index),) * 2
            values = _run(taps, _at(taps, keys), pixels.float(), batch)
            pairs = zip(relative, values, truth, strict=True)
            relative = [max(least, _largest(_relative(*pair))) for least, *pair in pairs]
        x = self.golden.input[index].contiguous()
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
        """What the module sees of the golden samples, (16, C, H, W) float64."""
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


def _outputs(taps: Taps) -> dict[Key, str]:
    return {end.key: end.output for end in taps.steps.ends}


def _at(taps: Taps, keys: Sequence[Key]) -> list[str]:
    outputs = _outputs(taps)
    return [outputs[key] for key in keys]


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


@dataclass(kw_only=True)
class _Found:
    points: list[Point]
    culprit: Block | None = None
    inside: str | None = None
    reason: str = "no block stands out"
    passed: bool = True
    measured: dict[int, Point] = field(default_factory=dict)


def _by_halves(network: _Network, final: Point) -> _Found:
    """Halve the network until one block is left whose input is right and whose output is not."""
    if network.whole().ratio <= 1:
        return _only_whole(network, final)
    low, high = -1, len(network.blocks) - 1
    measured: dict[int, Point] = {}
    while high - low > 1:
        middle = (low + high) // 2
        (measured[middle],) = _points(network, [middle])
        low, high = (low, middle) if measured[middle].ratio > 1 else (middle, high)
    points = [measured[i] for i in sorted(measured)]
    return _blame(network, network.blocks[high], [*points, _named(network, final)])


def _in_full(network: _Network, final: Point) -> _Found:
    """Measure every block. The culprit is where the ratio grows most until it first exceeds 1."""
    inner = range(len(network.blocks) - 1)
    points = []
    for start in range(0, len(inner), _AT_ONCE):
        points += _points(network, inner[start : start + _AT_ONCE])
    points.append(_named(network, final))
    beyond = [i for i, point in enumerate(points) if not point.ratio <= 1]
    if not beyond:
        return _Found(points=points)
    if beyond[0] == len(points) - 1 and network.whole().ratio <= 1:
        return _only_whole(network, final, points)
    before = [0.0, *(point.ratio for point in points)]
    growth = [points[i].ratio / max(before[i], _UNREMARKABLE) for i in range(beyond[0] + 1)]
    return _blame(network, network.blocks[growth.index(max(growth))], points)


def _points(network: _Network, indices: Sequence[int]) -> list[Point]:
    places = []
    for i in indices:
        end = network.blocks[i].end
        assert end is not None  # only the last block has none, and its error is known
        places.append((network.blocks[i].name, end.key))
    return network.measure(places)


def _named(network: _Network, final: Point) -> Point:
    """The output's error under the last block's name."""
    return Point(**{**final.__dict__, "name": network.blocks[-1].name})


def _blame(network: _Network, block: Block, points: list[Point]) -> _Found:
    """Name the block, and the first module inside it that is wrong where that costs little."""
    inside = None
    if block.inner and not network.taps.costly:
        measured = network.measure([(each.key[0], each.key) for each in block.inner])
        inside = next((point.name for point in measured if not point.ratio <= 1), None)
    where = f"{block.name}, first behind {inside}" if inside else block.name
    return _Found(
        points=points,
        culprit=block,
        inside=inside,
        reason=f"the error exceeds what is allowed in {where}",
        passed=False,
    )


def _only_whole(network: _Network, final: Point, points: Sequence[Point] = ()) -> _Found:
    """The saved program is wrong, and what its graph gives when it is tapped or compiled again is
    right: so its weights are compared, which no fusion changes.
    """
    maker = backend(network.artifact.manifest["backend"])
    path = network.artifact.files[network.program.file].path
    gate = gates.constants(
        gates.weights_of(network.subject.folded),
        network.precision,
        maker.constants(path, network.program),
    )
    found = _Found(points=list(points) or [_named(network, final)], passed=False)
    if gate["passed"]:
        found.reason = (
            "the program is wrong only as a whole: its graph, tapped or compiled again, is right, "
            "and so are its weights"
        )
        return found
    found.inside = str(gate["worst"]).rpartition(".")[0]
    holders = [each for each in network.blocks if found.inside in each.modules]
    found.culprit = holders[0] if holders else None
    found.reason = f"the file's weights differ from the module's at {gate['worst']}"
    return found


def _report(
    artifact: Artifact, program: ProgramFile, found: _Found, all_blocks: Sequence[Block]
) -> Report:
    return Report(
        artifact=artifact.name,
        backend=artifact.manifest["backend"],
        precision=artifact.manifest["precision"],
        batch=program.batch_text,
        blocks=[block.name for block in all_blocks],
        points=found.points,
        culprit=found.culprit.name if found.culprit else None,
        inside=found.inside,
        passed=found.passed,
        reason=found.reason,
    )
