"""Who is right where an .onnx is refused: the exporter, or the program that runs its graph?

onnx's reference evaluator runs the graph in double. Where it agrees with the oracle, the exporter
is right, and what is left is rounding or a kernel.
"""

from __future__ import annotations

from pathlib import Path

from compile.proof.golden import Bounds, Golden


def truth_of(folder: Path, golden: Golden, bounds: Bounds, rmse: list[float | None]) -> str:
    """One sentence about the artifact in `folder`, whose errors per sample are `rmse`."""
    if not (folder / "model.onnx").exists():
        return "not decided"
    return "not decided"
