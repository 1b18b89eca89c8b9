"""Which block of a network makes a compiled program wrong. docs/parity.md explains the rule.

The program's values inside are held to the same rule as its outputs: they are compared with the
folded module in float64 (at int8 with the quantised graph), and may be k times as wrong as PyTorch
at that precision. The culprit is the block behind which they are more wrong than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compile.artifact.manifest import Manifest
from compile.artifact.programs import ProgramFile, run_rows
from compile.artifact.reading import Artifact, open_artifact
from compile.backends import backend
from compile.bisect.block_errors import Comparison, Progress
from compile.bisect.points import Ending, Point, endings
from compile.bisect.taps import check_backend
from compile.errors import BadArtifact, UsageError
from compile.graphs.blocks import Block
from compile.loading import load_artifact
from compile.network.quantize import SCHEMES
from compile.precision import precision
from compile.proof import parity
from compile.proof.constants import compare
from compile.proof.golden import Bounds, Golden, proof_of
from compile.proof.prepared import PreparedModel

_AT_ONCE = 8
"""Blocks measured in one run: their values are all in memory."""

_OTHER_WEIGHTS = "the file's weights differ from the module's"

_UNREMARKABLE = 0.5
"""Below this share of what is allowed, growth means nothing."""


@dataclass(frozen=True, kw_only=True)
class Bisection:
    """What `bisect` says of an artifact."""

    artifact: str
    backend: str
    precision: str
    batch: str
    """The batches of the program that was followed. Of several it is the most wrong one."""
    output: str | None
    """Of several outputs the most wrong one, which was followed."""
    blocks: list[str]
    """All blocks, in order."""
    points: list[Point]
    """Those that were measured, in order. A block that ends with an output has its error."""
    culprit: str | None
    """The block that makes the program wrong; None if none stands out."""
    inside: str | None
    """The first module inside the culprit whose values are wrong, where it is known."""
    passed: bool
    """Whether nothing is wrong."""
    reason: str
    """The finding in one sentence."""


def bisect(
    path: Path,
    prepared: PreparedModel,
    *,
    full: bool = False,
    progress: Progress = lambda stage: None,
) -> Bisection:
    """Find the first block whose error is beyond what is allowed.

    Args:
        path: the artifact's folder; only its own files are run.
        prepared: the module that it was built from.
        full: measure every block instead of halving the network until one is left.

    Raises UsageError for an artifact that cannot be looked into (a TensorRT engine, CUDA),
    BadArtifact for one that is damaged, or was built from other weights or calibration images.
    """
    artifact = open_artifact(path)
    _check(artifact, prepared)
    golden, bounds = proof_of(artifact)
    program, outputs = _most_wrong(artifact, golden, bounds)
    worst = max(outputs, key=_ratio)
    if worst.point.ratio <= 1 and not full:
        return _report(artifact, program, worst, _Finding(points=[worst.point]), [])
    progress("export the module")
    comparison = Comparison(artifact, program, prepared, worst, progress)
    finding = _in_full(comparison, outputs) if full else _by_halves(comparison)
    return _report(artifact, program, worst, finding, comparison.blocks)


def _ratio(output: Ending) -> float:
    return output.point.ratio


def _check(artifact: Artifact, prepared: PreparedModel) -> None:
    manifest, where = artifact.manifest, artifact.path
    check_backend(manifest["backend"])
    if manifest["device"] != "cpu":
        raise UsageError(f"{where} is for {manifest['device']}; bisect follows programs on the CPU")
    built_from = manifest["model"]["weights_sha256"]
    if prepared.network.weights_sha256 != built_from:
        raise BadArtifact(
            f"{where} was built from the weights {built_from[:8]}, the model given has "
            f"{prepared.network.weights_sha256[:8]}; name its source with --model"
        )
    if precision(manifest["precision"]).quantised:
        _check_calibration(artifact, prepared)


def _check_calibration(artifact: Artifact, prepared: PreparedModel) -> None:
    """Bisecting a quantised network repeats its calibration, which needs the same images."""
    origin, _ = calibration_of(artifact.manifest)
    built_with = artifact.manifest["build"]["request"].get("calibration")
    if prepared.quantised_tasks.calibration_sha256 != built_with:
        raise BadArtifact(
            f"{artifact.path} was calibrated with other images than those found; they came from "
            f"'{origin}': name their folder with --calibrate"
        )


def calibration_of(manifest: Manifest) -> tuple[str, int]:
    """Where the images of a quantised artifact came from, and how many there were.

    Raises BadArtifact if the manifest does not say, or does not name the scheme.
    """
    entry = manifest.get("quantization")
    known = entry if isinstance(entry, dict) else {}
    scheme, origin, count = (known.get(key) for key in ("scheme", "calibration", "samples"))
    named = scheme in SCHEMES and isinstance(origin, str)
    if not named or type(count) is not int or count < 1:
        raise BadArtifact(
            "the manifest's 'quantization' lacks a scheme, calibration or samples; build the "
            "artifact anew with `zoo compile --force`"
        )
    return str(origin), count


def _most_wrong(
    artifact: Artifact, golden: Golden, bounds: Bounds
) -> tuple[ProgramFile, list[Ending]]:
    """The program that is furthest beyond its bounds, and its outputs."""
    run = load_artifact(artifact, unproved=True)
    found = []
    for program in artifact.programs:
        returned = run_rows(run, golden.input, program.batch)
        try:
            rows = golden.layout.join(golden.layout.check(returned))
        except BadArtifact as error:
            raise BadArtifact(
                f"{artifact.path / program.file}: {error}; rebuild it with `zoo compile --force`"
            ) from None
        found.append((program, endings(parity.errors(rows, golden), golden, bounds)))
    return max(found, key=lambda each: max(map(_ratio, each[1])))


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """The part of a Bisection that the search decides; the names mean the same."""

    points: Sequence[Point]
    culprit: Block | None = None
    inside: str | None = None
    reason: str = "no block stands out"
    passed: bool = True


def _by_halves(comparison: Comparison) -> _Finding:
    """Halve the network until one block is left whose input is right and whose output is not."""
    if comparison.whole().ratio <= 1:
        return _only_whole(comparison)
    low, high = -1, comparison.block_of(comparison.ending)
    measured = {high: _named(comparison, comparison.ending)}
    while high - low > 1:
        middle = (low + high) // 2
        (measured[middle],) = _points(comparison, [middle])
        low, high = (low, middle) if measured[middle].ratio > 1 else (middle, high)
    points = [measured[i] for i in sorted(measured)]
    return _blame(comparison, comparison.blocks[high], points)


def _in_full(comparison: Comparison, outputs: Sequence[Ending]) -> _Finding:
    """Measure every block. The culprit is where the ratio grows most until it first exceeds 1."""
    finals = {}
    for output in sorted(outputs, key=_ratio):  # of a block with several the most wrong one stays
        finals[comparison.block_of(output)] = _named(comparison, output)
    inner = [i for i in range(len(comparison.blocks)) if i not in finals]
    measured = []
    for start in range(0, len(inner), _AT_ONCE):
        measured += _points(comparison, inner[start : start + _AT_ONCE])
    found = finals | dict(zip(inner, measured, strict=True))
    points = [found[i] for i in sorted(found)]
    last = len(points) - 1
    if comparison.ending.point.ratio > 1:  # what follows its block has no part in it
        last = comparison.block_of(comparison.ending)
    beyond = [i for i in range(last + 1) if not points[i].ratio <= 1]
    if not beyond:
        return _Finding(points=points)
    if beyond[0] == last and comparison.whole().ratio <= 1:
        return _only_whole(comparison, points)
    before = [0.0, *(point.ratio for point in points)]
    growth = [points[i].ratio / max(before[i], _UNREMARKABLE) for i in range(beyond[0] + 1)]
    return _blame(comparison, comparison.blocks[growth.index(max(growth))], points)


def _points(comparison: Comparison, indices: Sequence[int]) -> list[Point]:
    places = []
    for i in indices:
        end = comparison.blocks[i].end
        assert end is not None  # only the last block has none, and it ends with an output
        places.append((comparison.blocks[i].name, end.key))
    return comparison.measure(places)


def _named(comparison: Comparison, output: Ending) -> Point:
    """The output's error under the name of its block."""
    return replace(output.point, name=comparison.blocks[comparison.block_of(output)].name)


def _blame(comparison: Comparison, block: Block, points: list[Point]) -> _Finding:
    """Name the block, and the first module inside it that is wrong where that costs little."""
    inside = None
    if block.inner and not comparison.taps.costly:
        measured = comparison.measure([(each.key[0], each.key) for each in block.inner])
        inside = next((point.name for point in measured if not point.ratio <= 1), None)
    where = f"{block.name}, first behind {inside}" if inside else block.name
    weight = _differing_weight(comparison)
    return _Finding(
        points=points,
        culprit=block,
        inside=inside,
        reason=f"the error exceeds what is allowed in {where}"
        + (f"; {_OTHER_WEIGHTS} at {weight}" if weight else ""),
        passed=False,
    )


def _only_whole(comparison: Comparison, points: Sequence[Point] = ()) -> _Finding:
    """The saved program is wrong, but its graph is right when it is tapped or compiled again.

    So its weights are compared, which no fusion changes.
    """
    points = points or [_named(comparison, comparison.ending)]
    weight = _differing_weight(comparison)
    if weight is None:
        reason = (
            "the program is wrong only as a whole: its graph, tapped or compiled again, is right, "
            "and so are its weights"
        )
        return _Finding(points=points, passed=False, reason=reason)
    layer = weight.rpartition(".")[0]
    return _Finding(
        points=points,
        culprit=next((each for each in comparison.blocks if layer in each.modules), None),
        inside=layer,
        reason=f"{_OTHER_WEIGHTS} at {weight}",
        passed=False,
    )


def _differing_weight(comparison: Comparison) -> str | None:
    """The weight that is furthest from the module's in the saved file, beyond one rounding."""
    program = comparison.program
    constants = backend(comparison.artifact.manifest["backend"]).constants(
        comparison.artifact.files[program.file].path, program
    )
    weights = comparison.prepared.weights(comparison.precision, comparison.scheme)
    gate = compare(weights, comparison.precision, constants).gate
    return None if gate["passed"] else str(gate["worst"])


def _report(
    artifact: Artifact,
    program: ProgramFile,
    followed: Ending,
    finding: _Finding,
    all_blocks: Sequence[Block],
) -> Bisection:
    several = len(artifact.manifest["outputs"]) > 1
    return Bisection(
        artifact=artifact.name,
        backend=artifact.manifest["backend"],
        precision=artifact.manifest["precision"],
        batch=program.batch_text,
        output=followed.point.name if several else None,
        blocks=[block.name for block in all_blocks],
        points=list(finding.points),
        culprit=finding.culprit.name if finding.culprit else None,
        inside=finding.inside,
        passed=finding.passed,
        reason=finding.reason,
    )
