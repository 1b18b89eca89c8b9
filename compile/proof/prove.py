"""The proof of a staged artifact: what `zoo compile` measures before it publishes anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.artifact.programs import Program, ProgramFile, run_rows
from compile.artifact.reading import Artifact, open_artifact
from compile.backends.base import Backend, Built
from compile.errors import BadArtifact, CheckFailed, Unavailable
from compile.loading import load_artifact
from compile.machine import usable_cores
from compile.precision import precision as find_precision
from compile.proof import constants, gates, parity
from compile.proof.determinism import measure_determinism, nonfinite, run_side_by_side
from compile.proof.gates import Gate
from compile.proof.task import Task
from compile.returned import Returned
from compile.runner import has_engine

SECONDS = 5.0
"""After which no further call is made to see whether the program repeats itself."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was measured of an artifact: entries of its manifest."""

    parity: dict[str, Any]
    determinism: dict[str, Any] | None
    nonfinite: dict[str, str] | None
    failures: tuple[str, ...]
    """What failed, in words."""
    postponed: bool = False
    """Whether nothing was run, because the program was built for another machine."""

    @property
    def entries(self) -> dict[str, Any]:
        """The fields of the manifest that the proof decides."""
        ran = "accepted" if self.failures else "proved"
        return {
            "status": "pending" if self.postponed else ran,
            "parity": self.parity,
            "determinism": self.determinism,
            "nonfinite": self.nonfinite,
        }


@dataclass(frozen=True, kw_only=True)
class _Ran:
    """What the programs gave, in each place that ran them."""

    verdicts: Mapping[str, parity.Verdict]
    """`python` or `zoo-run`, with the program where there are several -> what judging it found."""
    beside: tuple[tuple[Returned, ...], ...]
    """For each program, what two zoo-runs at once gave; empty without zoo-run."""


@contextmanager
def _as_failed_check() -> Iterator[None]:
    """Turn BadArtifact into CheckFailed.

    It is not the fault of whoever gave the module if the new file does not load or run.
    """
    try:
        yield
    except BadArtifact as error:
        raise CheckFailed(f"parity failed: {error}") from error


@_as_failed_check()
def prove(
    folder: Path,
    backend: Backend,
    built: Built,
    task: Task,
    *,
    runner: Path | None,
) -> Proof:
    """Prove the staged folder, in Python and through zoo-run if `runner` has an engine for it.

    What failed stands in the proof: whoever called decides. Raises CheckFailed for a program that
    does not load or run.
    """
    artifact = open_artifact(folder)
    run = load_artifact(artifact, unproved=True)
    ran = _run(artifact, run, task, runner)
    of_file, skipped = judge_constants(artifact, backend, built, task)
    first, ordinary = artifact.programs[0].batch, task.golden.ordinary.input
    repeats = measure_determinism(
        run,
        lambda: load_artifact(open_artifact(folder), unproved=True),
        task.golden,
        task.bounds,
        first,
        beside=ran.beside,
        seconds=SECONDS,
    )
    judged = [*task.gates, *of_file, *_batches(run, built, task), repeats.gate]
    failures = gates.failures(judged, ran.verdicts)
    if failures:
        judged += judge_clarity(task)
    unguarded = load_artifact(artifact, allow_nonfinite=True, unproved=True)
    return Proof(
        parity={
            **artifact.manifest["parity"],
            "outputs": _measured(artifact.manifest["parity"]["outputs"], ran.verdicts),
            "gates": judged,
            "skipped_gates": [*task.skipped, *skipped],
            "ran_in": sorted({where.split()[0] for where in ran.verdicts}),
        },
        determinism=repeats.entry,
        nonfinite=nonfinite(unguarded, ordinary, first),
        failures=failures,
    )


def _run(artifact: Artifact, run: Program, task: Task, runner: Path | None) -> _Ran:
    """Run the golden samples through every program, in Python and through two zoo-runs at once."""
    x = task.golden.input
    outputs: dict[str, Returned] = {}
    beside = []
    for program in artifact.programs:
        where = _where(program, artifact.programs)
        outputs[f"python{where}"] = run_rows(run, x, program.batch)
        if runner is not None and has_engine(runner, artifact.manifest["backend"]):
            one, other = run_side_by_side(runner, artifact.path, program, x, usable_cores())
            outputs |= {f"zoo-run{where}": one, f"zoo-run beside it{where}": other}
            beside.append((one, other))
    verdicts = {
        where: parity.judge(out, task.golden, task.bounds) for where, out in outputs.items()
    }
    return _Ran(verdicts=verdicts, beside=tuple(beside))


def judge_constants(
    artifact: Artifact, backend: Backend, built: Built, task: Task
) -> tuple[list[Gate], list[dict[str, str]]]:
    """The gate over the weights in each file, and what it cannot decide there."""
    judged, skipped = [], []
    for program in built.programs:
        try:
            values = list(backend.constants(str(artifact.path / program.file), program))
        except Unavailable as error:  # a TensorRT engine does not reveal its weights
            skipped.append({"name": "constants", "reason": str(error)})
            continue
        compared = constants.compare(task.weights, artifact.manifest["precision"], values)
        judged.append(compared.gate)
        skipped += [each for each in compared.skipped if each not in skipped]
    return judged, skipped


def _where(program: ProgramFile, programs: list[ProgramFile]) -> str:
    """Which of several programs, for messages: nothing if there is one."""
    return f" (batch {program.batch_text})" if len(programs) > 1 else ""


def _batches(run: Program, built: Built, task: Task) -> list[Gate]:
    """The saved file at both ends of its range, between them, and one beyond each end."""
    low = min(program.batch[0] for program in built.programs)
    high = max(program.batch[1] for program in built.programs)
    refused = gates.refusals(run, task.golden, [low - 1, high + 1])
    if low == high:
        return [refused]
    middle = (low + high) // 2
    wanted = {low, low + 1, 7, middle, middle | 1, high}
    sizes = sorted(size for size in wanted if low <= size <= high)
    return [gates.batches(run, task.golden, task.bounds, sizes), refused]


def judge_clarity(task: Task) -> list[Gate]:
    """A gate for the manifest where no ordinary sample is clear: no figure there would show it."""
    if parity.is_clear(task.golden, task.bounds):
        return []
    return [{"name": "a clear sample", "value": 0.0, "bound": 1.0, "passed": False}]


def _measured(
    outputs: list[dict[str, Any]], verdicts: Mapping[str, parity.Verdict]
) -> list[dict[str, Any]]:
    """The manifest's entries with what was measured: of several programs, the worst in Python.

    Where one failed, the worst of those that failed, wherever it ran.
    """
    failed = [verdict for verdict in verdicts.values() if verdict.reasons]
    in_python = [verdict for where, verdict in verdicts.items() if where.startswith("python")]
    worst = max(failed or in_python, key=lambda each: _known(each.ratio, math.inf))
    return [
        _measured_output(output, verdict)
        for output, verdict in zip(outputs, worst.outputs, strict=True)
    ]


def _measured_output(output: dict[str, Any], verdict: parity.OutputVerdict) -> dict[str, Any]:
    bounds = [
        {**row, "rmse": _known(rmse, None)}
        for row, rmse in zip(output["bounds"], verdict.rmse, strict=True)
    ]
    measured: dict[str, Any] = {
        "bounds": bounds,
        "max_abs": _known(verdict.max_abs, None),
        "sqnr_db": _known(verdict.sqnr_db, None),
    }
    if verdict.top1 is not None:
        measured["top1"] = {"decided": verdict.top1[0], "agreed": verdict.top1[1]}
    if output["channels"] is not None:
        parts = {"ratio": _known(verdict.parts, None), "worst": verdict.worst}
        measured["channels"] = {**output["channels"], **parts}
    return {**output, **measured}


def _known(value: float | None, instead: Any) -> Any:
    """The value, or something else where it is NaN or infinite: JSON holds neither."""
    return value if value is not None and math.isfinite(value) else instead


def to_measure(precision: str, task: Task) -> dict[str, Any]:
    """The manifest's `parity` before anything was measured: what judges the staged folder."""
    numbers = find_precision(precision)
    return {
        "oracle": task.golden.way,
        "reference": "fake-quantised" if numbers.on_own_grid else "module",
        "tf32": numbers.tf32,
        "k": task.bounds.k,
        "samples": [{"kind": kind} for kind in task.golden.kinds],
        "skipped_samples": list(task.golden.left_out),
        "outputs": _outputs_to_measure(task),
        "gates": [],
        "skipped_gates": [],
        "ran_in": [],
    }


def _outputs_to_measure(task: Task) -> list[dict[str, Any]]:
    entries = []
    layout, bounds = task.golden.layout, task.bounds
    for output, pieces in zip(layout.outputs, layout.pieces, strict=True):
        rows = zip(
            bounds.e_eager[:, pieces.start].tolist(),
            bounds.floor[:, pieces.start].tolist(),
            bounds.bound[:, pieces.start].tolist(),
            strict=True,
        )
        groups = output.groups
        entries.append(
            {
                "name": output.name,
                "positions": None if output.positions is None else output.kept,
                "bounds": [
                    {"e_eager": eager, "floor": floor, "bound": bound, "rmse": None}
                    for eager, floor, bound in rows
                ],
                "channels": {"groups": groups, "ratio": None, "worst": None} if groups else None,
                "top1": {"decided": 0, "agreed": 0} if output.scores else None,
                "max_abs": None,
                "sqnr_db": None,
            }
        )
    return entries
