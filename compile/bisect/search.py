"""Which block of a network makes a compiled program wrong. docs/parity.md explains the rule.

The program's values inside are held to the same rule as its outputs: against the folded module in
float64 (int8: the quantised graph), at most k times as wrong as PyTorch at that precision. The
culprit is the block behind which they no longer are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from compile.artifact.manifest import Manifest
from compile.artifact.programs import ProgramFile, run_rows
from compile.artifact.reading import Artifact, open_artifact
from compile.backends import backend
from compile.bisect.block_errors import Network, Point, Progress, final_point
from compile.bisect.taps import check_backend
from compile.errors import BadArtifact, UsageError
from compile.graphs.blocks import Block
from compile.loading import load_artifact
from compile.network.quantize import SCHEMES
from compile.precision import precision
from compile.proof import gates, parity
from compile.proof.golden import Bounds, Golden, proof_of
from compile.proof.subject import Subject

_AT_ONCE = 8
"""Blocks measured in one run: their values are all in memory."""

_OTHER_WEIGHTS = "the file's weights differ from the module's"

_UNREMARKABLE = 0.5
"""Below this share of what is allowed, growth means nothing."""


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

    Raises UsageError for an artifact that cannot be looked into (a TensorRT engine, CUDA),
    BadArtifact for one that is damaged, or was built from other weights or calibration images.
    """
    artifact = open_artifact(path)
    _check(artifact, subject)
    golden, limit = proof_of(artifact)
    program, error = _most_wrong(artifact, golden, limit)
    final = final_point(error, golden, limit)
    if final.ratio <= 1 and not full:
        return _report(artifact, program, _Found(points=[final]), [])
    progress("export the module")
    worst = int(parity.share(error, limit.bound).argmax())
    network = Network(artifact, program, subject, worst, progress)
    found = _in_full(network, final) if full else _by_halves(network, final)
    return _report(artifact, program, found, network.blocks)


def _check(artifact: Artifact, subject: Subject) -> None:
    manifest, where = artifact.manifest, artifact.path
    check_backend(manifest["backend"])
    if manifest["device"] != "cpu":
        raise UsageError(f"{where} is for {manifest['device']}; bisect follows programs on the CPU")
    built_from = manifest["model"]["weights_sha256"]
    if subject.sha256 != built_from:
        raise BadArtifact(
            f"{where} was built from the weights {built_from[:8]}, the model given has "
            f"{subject.sha256[:8]}; name its source with --model"
        )
    if precision(manifest["precision"]).quantised:
        _check_calibration(artifact, subject)


def _check_calibration(artifact: Artifact, subject: Subject) -> None:
    """The grid of a quantised network is made again, of the same images."""
    origin, _ = calibration_of(artifact.manifest)
    if subject.calibration_sha256 != artifact.manifest["build"]["request"].get("calibration"):
        raise BadArtifact(
            f"{artifact.path} was calibrated with other images than those found; they came from "
            f"'{origin}': name their folder with --calibrate"
        )


def calibration_of(manifest: Manifest) -> tuple[str, int]:
    """Where the images of a quantised artifact came from, and how many; BadArtifact where it does
    not say, or not how they were used.
    """
    entry = manifest.get("quantization")
    known = entry if isinstance(entry, dict) else {}
    origin, count = known.get("calibration"), known.get("samples")
    on_grid = known.get("scheme") in SCHEMES
    if not on_grid or not isinstance(origin, str) or type(count) is not int or count < 1:
        raise BadArtifact(
            "the manifest's 'quantization' lacks a scheme, calibration or samples; build the "
            "artifact anew with `zoo compile --force`"
        )
    return origin, count


def _most_wrong(
    artifact: Artifact, golden: Golden, limit: Bounds
) -> tuple[ProgramFile, torch.Tensor]:
    """Of several programs the one furthest beyond its bounds, and its outputs' errors, (N,)."""
    run = load_artifact(artifact)
    found = []
    for program in artifact.programs:
        out = run_rows(run, golden.input, program.batch)
        if out.shape != golden.oracle.shape:
            raise BadArtifact(
                f"{artifact.path / program.file} returned {tuple(out.shape)}, expected "
                f"{tuple(golden.oracle.shape)}; rebuild it with `zoo compile --force`"
            )
        found.append((program, parity.rmse(out, golden.oracle)))
    return max(found, key=lambda each: final_point(each[1], golden, limit).ratio)


@dataclass(kw_only=True)
class _Found:
    points: list[Point]
    culprit: Block | None = None
    inside: str | None = None
    reason: str = "no block stands out"
    passed: bool = True


def _by_halves(network: Network, final: Point) -> _Found:
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


def _in_full(network: Network, final: Point) -> _Found:
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


def _points(network: Network, indices: Sequence[int]) -> list[Point]:
    places = []
    for i in indices:
        end = network.blocks[i].end
        assert end is not None  # only the last block has none, and its error is known
        places.append((network.blocks[i].name, end.key))
    return network.measure(places)


def _named(network: Network, final: Point) -> Point:
    """The output's error under the last block's name."""
    return replace(final, name=network.blocks[-1].name)


def _blame(network: Network, block: Block, points: list[Point]) -> _Found:
    """Name the block, and the first module inside it that is wrong where that costs little."""
    inside = None
    if block.inner and not network.taps.costly:
        measured = network.measure([(each.key[0], each.key) for each in block.inner])
        inside = next((point.name for point in measured if not point.ratio <= 1), None)
    where = f"{block.name}, first behind {inside}" if inside else block.name
    weight = _differing_weight(network)
    return _Found(
        points=points,
        culprit=block,
        inside=inside,
        reason=f"the error exceeds what is allowed in {where}"
        + (f"; {_OTHER_WEIGHTS} at {weight}" if weight else ""),
        passed=False,
    )


def _only_whole(network: Network, final: Point, points: Sequence[Point] = ()) -> _Found:
    """The saved program is wrong, and what its graph gives when it is tapped or compiled again is
    right: so its weights are compared, which no fusion changes.
    """
    found = _Found(points=list(points) or [_named(network, final)], passed=False)
    weight = _differing_weight(network)
    if weight is None:
        found.reason = (
            "the program is wrong only as a whole: its graph, tapped or compiled again, is right, "
            "and so are its weights"
        )
        return found
    found.inside = weight.rpartition(".")[0]
    holders = [each for each in network.blocks if found.inside in each.modules]
    found.culprit = holders[0] if holders else None
    found.reason = f"{_OTHER_WEIGHTS} at {weight}"
    return found


def _differing_weight(network: Network) -> str | None:
    """The weight that is furthest from the module's in the saved file, beyond one rounding."""
    maker = backend(network.artifact.manifest["backend"])
    path = network.artifact.files[network.program.file].path
    gate = gates.constants(
        network.subject.weights(network.precision, network.scheme),
        network.precision,
        maker.constants(path, network.program),
    )
    return None if gate["passed"] else str(gate["worst"])


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
