"""The proof of a staged artifact: what `zoo compile` measures before it publishes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from compile import parity
from compile.artifact import open_artifact
from compile.backends.base import Backend, Built
from compile.errors import Unavailable
from compile.loading import load_artifact
from compile.manifest import ROWS, Manifest, write_manifest
from compile.runner import ENGINES, run_inputs


def prove(
    folder: Path,
    manifest: Manifest,
    maker: Backend,
    made: Built,
    module: nn.Module,
    folded: nn.Module,
    golden: parity.Golden,
    runner: Path | None,
) -> None:
    """Parity of the staged folder, in Python and through zoo-run; fills the manifest."""
    name = manifest["precision"]
    limit = parity.bounds(module, name, golden)
    manifest["parity"] = _parity_entry(golden, limit)
    write_manifest(folder, manifest)
    gates = []
    if name != "fp32":
        gates.append(parity.gate_before_cast(folded, module, golden))
    skipped = []
    for program in made.programs:
        try:
            values = list(maker.constants(str(folder / program.file), program))
        except Unavailable as error:  # a TensorRT engine does not reveal its weights
            skipped.append({"name": "constants", "reason": str(error)})
            continue
        gates.append(parity.gate_constants(folded, name, values))
    artifact = open_artifact(folder)
    run = load_artifact(artifact)
    batch = artifact.programs[0].batch
    outputs = {"python": parity.run_rows(run, golden.input, batch)}
    if runner is not None and manifest["backend"] in ENGINES:
        rows = parity.padded(golden.input, batch)
        outputs["zoo-run"] = run_inputs(runner, folder, rows, None)[:ROWS]
    verdicts = {where: parity.judge(out, golden, limit) for where, out in outputs.items()}
    parity.require(gates, verdicts)
    measured = verdicts["python"]
    for sample, rmse in zip(manifest["parity"]["samples"], measured.rmse, strict=True):
        sample["rmse"] = rmse
    manifest["parity"].update(
        top1={"decided": measured.decided, "agreed": measured.agreed},
        max_abs=measured.max_abs,
        sqnr_db=measured.sqnr_db,
        gates=gates,
        skipped_gates=skipped,
        ran_in=list(verdicts),
    )
    again = load_artifact(open_artifact(folder), allow_nonfinite=True)
    manifest["determinism"] = parity.determinism([run, again], golden.input, batch)
    manifest["nonfinite"] = parity.nonfinite(again, golden.input, batch)


def _parity_entry(golden: parity.Golden, limit: parity.Bounds) -> dict[str, Any]:
    rows = zip(
        golden.kinds,
        limit.e_eager.tolist(),
        limit.floor.tolist(),
        limit.bound.tolist(),
        strict=True,
    )
    samples = [
        {"kind": kind, "e_eager": eager, "floor": floor, "bound": bound, "rmse": None}
        for kind, eager, floor, bound in rows
    ]
    return {
        "oracle": "float64",
        "tf32": False,
        "k": limit.k,
        "samples": samples,
        "top1": {"decided": 0, "agreed": 0},
        "max_abs": None,
        "sqnr_db": None,
        "gates": [],
        "ran_in": [],
    }
