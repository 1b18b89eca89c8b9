"""Re-prove a published artifact: parity from golden.pt, in Python and by zoo-run, and accuracy."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from compile import machine, parity
from compile.artifact import Artifact, open_artifact
from compile.backends.base import Program, ProgramFile
from compile.backends.onnx import executor
from compile.errors import BadArtifact, Unavailable, ZooError
from compile.files import write_atomic
from compile.loading import load_artifact
from compile.manifest import GOLDEN
from compile.runner import has_engine, run_inputs
from compile.subject import Labelled


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artifact, run in one place."""

    artifact: str
    backend: str
    precision: str
    batch: str
    ran_in: str
    """`zoo-run`, `torch`, `onnxruntime`, `onnx.reference` or `openvino`."""
    ratio: float
    """Largest rmse / bound over the golden samples; at most 1 passes."""
    eager_ratio: float
    """Largest rmse / e_eager: how much more wrong than PyTorch at that precision."""
    sqnr_db: float | None
    max_abs: float
    agreed: int
    decided: int
    correct: int | None
    """Test samples classified rightly, of `total`; None where there is no data."""
    total: int | None
    verdict: str
    reasons: tuple[str, ...]


def check_artifact(
    path: Path,
    runner: Path | None,
    data: Labelled | None = None,
    *,
    threads: int | None = None,
) -> list[Row]:
    """Return a row for Python and, where zoo-run has an engine for the backend, one for zoo-run.

    Writes `parity-<folder>.json` beside the artifact where it may. Raises BadArtifact or
    Unavailable when it cannot be opened; a failed check is a row, not an exception.
    """
    artifact = open_artifact(path)
    golden, limit = proof_of(artifact)
    backend = artifact.manifest["backend"]
    run = load_artifact(artifact)
    here = {"onnx": executor(), "openvino": "openvino"}.get(backend, "torch")
    rows = []
    for program in artifact.programs:
        places = {here: _in_python(run, program)}
        if runner is not None and has_engine(runner, backend):
            places["zoo-run"] = _in_runner(runner, path, program, threads)
        rows += [
            _row(artifact, program, where, call, golden, limit, data)
            for where, call in places.items()
        ]
    with suppress(Unavailable):  # a read-only place is no reason not to check
        _write_report(artifact.path.resolve(), rows)
    return rows


def _in_python(run: Program, program: ProgramFile) -> Program:
    return lambda x: parity.run_rows(run, x, program.batch)


def _in_runner(runner: Path, path: Path, program: ProgramFile, threads: int | None) -> Program:
    def run(x: torch.Tensor) -> torch.Tensor:
        rows = parity.padded(x, program.batch)
        size = parity.chunk(len(x), program.batch)
        return run_inputs(runner, path, rows, threads, batch=size)

    return run


def proof_of(artifact: Artifact) -> tuple[parity.Golden, parity.Bounds]:
    """The samples and bounds that the artifact carries."""
    tensors = torch.load(artifact.files[GOLDEN].path, weights_only=True)
    entry = artifact.manifest["parity"]
    golden = parity.Golden(
        input=tensors["input"],
        pixels=tensors["input"],
        oracle=tensors["oracle"],
        kinds=tuple(sample["kind"] for sample in entry["samples"]),
    )
    if not len(golden.input) == len(golden.oracle) == len(golden.kinds) > 0:
        raise BadArtifact(f"{artifact.path}: golden.pt and the manifest hold different samples")
    limit = parity.Bounds(
        k=entry["k"],
        e_eager=torch.tensor([s["e_eager"] for s in entry["samples"]], dtype=torch.float64),
        floor=torch.tensor([s["floor"] for s in entry["samples"]], dtype=torch.float64),
    )
    return golden, limit


def _row(
    artifact: Artifact,
    program: ProgramFile,
    ran_in: str,
    call: Program,
    golden: parity.Golden,
    limit: parity.Bounds,
    data: Labelled | None,
) -> Row:
    manifest = artifact.manifest
    correct = total = None
    failure: list[str] = []
    output = torch.full_like(golden.oracle, torch.nan)
    try:
        output = call(golden.input)[: len(golden.input)]
        if data is not None:
            logits = call(_as_input(artifact, data.images))[: len(data.images)]
            correct, total = int((logits.argmax(dim=1) == data.labels).sum()), len(data.labels)
    except ZooError as error:
        failure.append(str(error))
    verdict = parity.judge(output, golden, limit)
    reasons = tuple(failure) or verdict.reasons
    return Row(
        artifact=artifact.name,
        backend=manifest["backend"],
        precision=manifest["precision"],
        batch=program.batch_text,
        ran_in=ran_in,
        ratio=verdict.ratio,
        eager_ratio=verdict.eager_ratio,
        sqnr_db=verdict.sqnr_db,
        max_abs=verdict.max_abs,
        agreed=verdict.agreed,
        decided=verdict.decided,
        correct=correct,
        total=total,
        verdict="FAILED" if reasons else "PASSED",
        reasons=reasons,
    )


def _as_input(artifact: Artifact, images: torch.Tensor) -> torch.Tensor:
    """Preprocessed images (N, C, H, W) as the artifact takes them, bytes perhaps."""
    if artifact.input.dtype == "float32":
        return images
    pixels = artifact.manifest["model"]["preprocessing"]
    if pixels is None:
        raise BadArtifact(f"{artifact.path} takes bytes and does not say how they are normalised")
    mean, std = (torch.tensor(pixels[key])[:, None, None] for key in ("mean", "std"))
    byte = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return byte.permute(0, 2, 3, 1).contiguous()


def _write_report(path: Path, rows: list[Row]) -> None:
    from compile.report import to_json

    report = {"rows": [asdict(row) for row in rows], "conditions": machine.conditions()}
    write_atomic(path.with_name(f"parity-{path.name}.json"), to_json(report).encode())
