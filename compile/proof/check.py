"""Prove a published artifact again: parity in Python and by zoo-run, and accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from compile import machine
from compile.artifact.programs import Program, ProgramFile, chunk, padded, run_rows
from compile.artifact.reading import Artifact, open_artifact
from compile.artifact.status import record_proof
from compile.backends import backend_of
from compile.errors import Unavailable, UsageError, ZooError
from compile.files import write_atomic
from compile.loading import load_artifact
from compile.proof import determinism, gates, parity
from compile.proof.accuracy import score
from compile.proof.counting import classes_of
from compile.proof.determinism import Repeats
from compile.proof.golden import Bounds, Golden, proof_of
from compile.proof.images import Labelled
from compile.returned import Returned, as_returned, each
from compile.runner import allocator_of, has_engine, run_inputs


@dataclass(frozen=True, kw_only=True)
class Row:
    """One program of an artifact, run in one place."""

    artifact: str
    status: str
    """As the manifest has it: `proved`, `pending` or `accepted`."""
    backend: str
    precision: str
    batch: str
    ran_in: str
    """`zoo-run`, or what the backend's `runs_in` says, such as `torch`."""
    ratio: float
    """Largest rmse / bound over the golden samples; at most 1 passes."""
    eager_ratio: float
    """Largest rmse / e_eager: how much more wrong than PyTorch at that precision."""
    worst: str
    """The kind of sample that came nearest to its bound, or went furthest beyond."""
    kinds: dict[str, dict[str, float]]
    """For each kind of sample `samples`, and the largest `ratio` and `eager_ratio`."""
    sqnr_db: float | None
    """Of the ordinary samples, as is `max_abs`."""
    max_abs: float
    agreed: int
    decided: int
    samples: int
    correct: int | None
    """Test samples classified correctly, of `total`; None if there is no data."""
    total: int | None
    accuracy: dict[str, Any] | None
    """What compile.proof.accuracy.score says of them."""
    same_bits: dict[str, Any] | None
    """How zoo-run's outputs differ from Python's, of the same file, rows and number of threads;
    the allocators of both. None in Python's own rows."""
    determinism: dict[str, Any] | None
    """As the manifest has it, or measured anew where it was asked for."""
    nonfinite: dict[str, str] | None
    """As the manifest has it."""
    skipped_samples: list[dict[str, str]]
    """Hostile samples that golden.safetensors leaves out, and why."""
    outputs: tuple[parity.OutputVerdict, ...]
    """Each output judged by itself."""
    verdict: str
    reasons: tuple[str, ...]

    @property
    def holds_scores(self) -> bool:
        """Whether an output holds scores of classes, so that a class can be right or wrong."""
        return any(output.top1 is not None for output in self.outputs)


@dataclass(frozen=True, kw_only=True)
class _Ran:
    """What one program gave in one place."""

    output: Returned
    """(N, ...) per output for the golden samples; NaN if it broke."""
    classes: torch.Tensor | None = None
    """(M,) of the labelled images."""
    failure: str | None = None


def check_artifact(
    path: Path,
    runner: Path | None,
    data: Labelled | None = None,
    *,
    threads: int | None = None,
    calls: int | None = None,
) -> list[Row]:
    """Return a row for each program in Python and, where zoo-run has an engine for it, in zoo-run.

    Args:
        path: the artifact's folder, whatever its status.
        runner: a zoo-run, or None.
        data: labelled images that measure accuracy, or None.
        threads: those of zoo-run and, for as long as this takes, of torch; None: as they are.
        calls: repeats the measurement of determinism with that many calls; None: does not.

    Writes `parity-<folder>.json` beside the artifact and, where one that was pending passed, the
    proof that lets it run here; neither where that cannot be written. Raises BadArtifact or
    Unavailable when the artifact cannot be opened; a failed check is a row, not an exception.
    """
    artifact = open_artifact(path)
    with _threads(threads) as count:
        rows = _rows(artifact, runner, data, count, calls)
    with suppress(Unavailable, UsageError):  # the check itself needs no place to write
        _write_report(artifact.path.resolve(), rows)
        if artifact.manifest["status"] == "pending" and not any(row.reasons for row in rows):
            record_proof(artifact)
    return rows


@contextmanager
def _threads(wanted: int | None) -> Iterator[int]:
    """Let torch run on `wanted` threads and give their number."""
    before = torch.get_num_threads()
    if wanted is not None:
        torch.set_num_threads(wanted)
    try:
        yield wanted or before
    finally:
        torch.set_num_threads(before)


def _rows(
    artifact: Artifact,
    runner: Path | None,
    data: Labelled | None,
    count: int,
    calls: int | None,
) -> list[Row]:
    path = artifact.path
    golden, bounds = proof_of(artifact)
    backend = artifact.manifest["backend"]
    run = load_artifact(artifact, unproved=True)
    engine = runner if runner is not None and has_engine(runner, backend) else None
    here = backend_of(artifact.manifest, path).runs_in()
    rows = []
    for program in artifact.programs:
        ours = _run(artifact, _in_python(run, program), golden, data)
        rows.append(_row(artifact, program, here, ours, golden, bounds, data))
        if engine is not None:
            theirs = _run(artifact, _in_runner(engine, path, program, count), golden, data)
            row = _row(artifact, program, "zoo-run", theirs, golden, bounds, data)
            rows.append(replace(row, same_bits=_difference(theirs, ours, engine, count)))
    if calls is not None and not any(row.reasons for row in rows):
        repeats = _determinism(artifact, run, golden, bounds, engine, count, calls)
        rows = [_with_repeats(row, repeats) for row in rows]
    return rows


def _with_repeats(row: Row, repeats: Repeats) -> Row:
    """The row with what repeating its program showed: it fails if the gate does."""
    row = replace(row, determinism=repeats.entry)
    reasons = gates.failures([repeats.gate], {})
    return replace(row, verdict="FAILED", reasons=reasons) if reasons else row


def _in_python(run: Program, program: ProgramFile) -> Program:
    return lambda x: run_rows(run, x, program.batch)


def _in_runner(runner: Path, path: Path, program: ProgramFile, threads: int) -> Program:
    def run(x: torch.Tensor) -> Returned:
        rows = padded(x, program.batch)
        size, names = chunk(len(x), program.batch), program.outputs
        return run_inputs(runner, path, rows, threads, outputs=names, batch=size, unproved=True)

    return run


def _run(artifact: Artifact, call: Program, golden: Golden, data: Labelled | None) -> _Ran:
    count = len(golden.input)
    scores = next((i for i, one in enumerate(golden.layout.outputs) if one.scores), None)
    try:
        output = each(call(golden.input), lambda y: y[:count])
        if data is None or scores is None:
            return _Ran(output=output)
        classes = classes_of(artifact, call, data.images, scores)
    except ZooError as error:
        shapes = [(count, *one.shape) for one in golden.layout.outputs]
        nothing = as_returned([torch.full(shape, torch.nan) for shape in shapes])
        return _Ran(output=nothing, failure=str(error))
    return _Ran(output=output, classes=classes)


def _row(
    artifact: Artifact,
    program: ProgramFile,
    ran_in: str,
    ran: _Ran,
    golden: Golden,
    bounds: Bounds,
    data: Labelled | None,
) -> Row:
    manifest = artifact.manifest
    verdict = parity.judge(ran.output, golden, bounds)
    reasons = (ran.failure,) if ran.failure else verdict.reasons
    if manifest["status"] == "accepted" and not reasons:
        reasons = ("it failed its proof when it was built",)
    accuracy = None
    if data is not None and ran.classes is not None:
        accuracy = score(ran.classes, data.labels, data.reference)
    return Row(
        artifact=artifact.name,
        status=manifest["status"],
        backend=manifest["backend"],
        precision=manifest["precision"],
        batch=program.batch_text,
        ran_in=ran_in,
        ratio=verdict.ratio,
        eager_ratio=verdict.eager_ratio,
        worst=verdict.worst,
        kinds=verdict.kinds,
        sqnr_db=verdict.sqnr_db,
        max_abs=verdict.max_abs,
        agreed=verdict.agreed,
        decided=verdict.decided,
        samples=len(golden.kinds),
        correct=accuracy["correct"] if accuracy else None,
        total=accuracy["total"] if accuracy else None,
        accuracy=accuracy,
        same_bits=None,
        determinism=manifest["determinism"],
        nonfinite=manifest["nonfinite"],
        skipped_samples=manifest["parity"]["skipped_samples"],
        outputs=verdict.outputs,
        verdict="FAILED" if reasons else "PASSED",
        reasons=reasons,
    )


def _difference(theirs: _Ran, ours: _Ran, runner: Path, threads: int) -> dict[str, Any] | None:
    """How zoo-run's outputs differ from Python's, and under what conditions."""
    if theirs.failure or ours.failure:
        return None
    return {
        **determinism.compare(theirs.output, ours.output),
        "threads": threads,
        "allocators": {
            "python": Path(machine.allocator()).name,
            "zoo-run": Path(allocator_of(runner) or "glibc").name,
        },
    }


def _determinism(
    artifact: Artifact,
    run: Program,
    golden: Golden,
    bounds: Bounds,
    runner: Path | None,
    threads: int,
    calls: int,
) -> Repeats:
    """Measured again: as many calls as were asked for, however long."""
    program = artifact.programs[0]
    beside = []
    if runner is not None:
        x = golden.ordinary.input
        beside.append(determinism.run_side_by_side(runner, artifact.path, program, x, threads))
    return determinism.measure_determinism(
        run,
        lambda: load_artifact(artifact, unproved=True),
        golden,
        bounds,
        program.batch,
        beside=beside,
        calls=calls,
    )


def _write_report(path: Path, rows: list[Row]) -> None:
    from compile.report import to_json

    report = {"rows": [asdict(row) for row in rows], "conditions": machine.conditions()}
    write_atomic(path.with_name(f"parity-{path.name}.json"), to_json(report).encode())
