"""The proof of a staged artifact: what `zoo compile` measures before it publishes anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from compile.artifact.manifest import Manifest, write_manifest
from compile.artifact.programs import Program, ProgramFile, chunk, padded, run_rows
from compile.artifact.reading import open_artifact
from compile.backends.base import Backend, Built
from compile.errors import BadArtifact, CheckFailed, Unavailable
from compile.loading import load_artifact
from compile.machine import usable_cores
from compile.precision import precision as find_precision
from compile.proof import determinism, gates, parity
from compile.proof.gates import Gate
from compile.proof.subject import Task
from compile.runner import has_engine

_SECONDS = 5.0
"""After which no further call is made to see whether the program repeats itself."""


@contextmanager
def _as_failed_check() -> Iterator[None]:
    """A new file that does not load, or breaks on what it is to answer, is no fault of whoever gave
    the module.
    """
    try:
        yield
    except BadArtifact as error:
        raise CheckFailed(f"parity failed: {error}") from error


@_as_failed_check()
def prove(
    folder: Path,
    manifest: Manifest,
    maker: Backend,
    made: Built,
    task: Task,
    runner: Path | None,
) -> None:
    """Parity of the staged folder, in Python and through zoo-run; fills the manifest.

    Raises CheckFailed where anything fails.
    """
    manifest["parity"] = _parity_entry(manifest["precision"], task)
    write_manifest(folder, manifest)
    found, skipped = list(task.gates), list(task.skipped)
    for program in made.programs:
        try:
            values = list(maker.constants(str(folder / program.file), program))
        except Unavailable as error:  # a TensorRT engine does not reveal its weights
            skipped.append({"name": "constants", "reason": str(error)})
            continue
        found.append(gates.constants(task.weights, manifest["precision"], values))
    artifact = open_artifact(folder)
    run = load_artifact(artifact)
    x = task.golden.input
    outputs: dict[str, torch.Tensor] = {}
    agree = []
    for program in artifact.programs:
        where = _where(program, artifact.programs)
        outputs[f"python{where}"] = run_rows(run, x, program.batch)
        if runner is not None and has_engine(runner, manifest["backend"]):
            one, other = _in_two_runners(runner, folder, x, program)
            outputs |= {f"zoo-run{where}": one, f"zoo-run beside it{where}": other}
            agree.append(determinism.same_bits(one, other))
    verdicts = {where: parity.judge(out, task.golden, task.limit) for where, out in outputs.items()}
    found += _batches(run, made, task)
    gates.require(found, verdicts)
    _record(manifest, verdicts, found, skipped)
    manifest["parity"]["skipped_samples"] = task.left_out
    first, ordinary = artifact.programs[0].batch, task.golden.ordinary.input
    manifest["determinism"] = {
        **determinism.determinism(_loads(folder, run), ordinary, first, seconds=_SECONDS),
        "runners": determinism.RUNNERS if agree else 0,
        "runners_identical": all(agree) if agree else None,
    }
    unguarded = load_artifact(open_artifact(folder), allow_nonfinite=True)
    manifest["nonfinite"] = determinism.nonfinite(unguarded, ordinary, first)


def _in_two_runners(
    runner: Path, folder: Path, x: torch.Tensor, program: ProgramFile
) -> list[torch.Tensor]:
    """The outputs of two zoo-runs at once, which share the cores: (N, classes) each."""
    rows, size = padded(x, program.batch), chunk(len(x), program.batch)
    threads = max(1, usable_cores() // determinism.RUNNERS)
    found = determinism.run_at_once(runner, folder, rows, size, threads)
    return [out[: len(x)] for out in found]


def _loads(folder: Path, run: Program) -> list[Callable[[], Program]]:
    """The program as it is loaded already, and two loads more, made when they are called."""

    def again() -> Program:
        return load_artifact(open_artifact(folder))

    return [lambda: run, *[again] * (determinism.LOADS - 1)]


def _where(program: ProgramFile, programs: list[ProgramFile]) -> str:
    """Which of several programs, for messages: nothing where there is one."""
    return f" (batch {program.batch_text})" if len(programs) > 1 else ""


def _batches(run: Program, made: Built, task: Task) -> list[Gate]:
    """The saved file at both ends of its range, between them, and one beyond each end."""
    low = min(program.batch[0] for program in made.programs)
    high = max(program.batch[1] for program in made.programs)
    refused = gates.refusals(run, task.golden, [low - 1, high + 1])
    if low == high:
        return [refused]
    middle = (low + high) // 2
    wanted = {low, low + 1, 7, middle, middle | 1, high}
    sizes = sorted(size for size in wanted if low <= size <= high)
    return [gates.batches(run, task.golden, task.limit, sizes), refused]


def _record(
    manifest: Manifest,
    verdicts: dict[str, parity.Verdict],
    found: list[Gate],
    skipped: list[dict[str, str]],
) -> None:
    """Write what was measured into the manifest: of several programs, the worst."""
    measured = max(
        (verdict for where, verdict in verdicts.items() if where.startswith("python")),
        key=lambda verdict: verdict.ratio,
    )
    for sample, rmse in zip(manifest["parity"]["samples"], measured.rmse, strict=True):
        sample["rmse"] = rmse
    manifest["parity"].update(
        top1={"decided": measured.decided, "agreed": measured.agreed},
        max_abs=measured.max_abs,
        sqnr_db=measured.sqnr_db,
        gates=found,
        skipped_gates=skipped,
        ran_in=sorted({where.split()[0] for where in verdicts}),
    )


def _parity_entry(precision: str, task: Task) -> dict[str, Any]:
    """The entry before anything was measured: what zoo-run needs to judge the staged folder."""
    row = find_precision(precision)
    rows = zip(
        task.golden.kinds,
        task.limit.e_eager.tolist(),
        task.limit.floor.tolist(),
        task.limit.bound.tolist(),
        strict=True,
    )
    samples = [
        {"kind": kind, "e_eager": eager, "floor": floor, "bound": bound, "rmse": None}
        for kind, eager, floor, bound in rows
    ]
    return {
        "oracle": "float64",
        "reference": "fake-quantised" if row.on_own_grid else "module",
        "tf32": row.tf32,
        "k": task.limit.k,
        "samples": samples,
        "top1": {"decided": 0, "agreed": 0},
        "max_abs": None,
        "sqnr_db": None,
        "gates": [],
        "ran_in": [],
    }
