"""How many labelled images a published artifact classifies correctly, and how many its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from compile.artifact.programs import Program, run_rows
from compile.artifact.reading import Artifact, open_artifact
from compile.loading import load_artifact
from compile.network.pixels import normalisation_of
from compile.proof.accuracy import paired, percent
from compile.proof.images import Labelled


def classes_of(
    artifact: Artifact, call: Program, images: torch.Tensor, output: int
) -> torch.Tensor:
    """The most likely class of each image: (N, C, H, W) float32, preprocessed -> (N,).

    `output` is the index of the output that holds the class scores.
    """
    answer = call(_as_input(artifact, images))
    logits = answer if isinstance(answer, torch.Tensor) else answer[output]
    return logits[: len(images)].argmax(dim=1)


def count_loss(path: Path, data: Labelled) -> dict[str, Any] | None:
    """What an artifact loses in accuracy: its classes in Python compared with `data.reference`.

    Returns an entry like the manifest's `quantization.accuracy`; None if no output holds class
    scores. Raises what `load` raises.
    """
    artifact = open_artifact(path)
    judged = enumerate(artifact.manifest["parity"]["outputs"])
    output = next((place for place, one in judged if one["top1"] is not None), None)
    if output is None or data.reference is None:
        return None
    run, batch = load_artifact(artifact), artifact.programs[0].batch
    classes = classes_of(artifact, lambda x: run_rows(run, x, batch), data.images, output)
    before, after = data.reference == data.labels, classes == data.labels
    return {
        "before": percent(before),
        "after": percent(after),
        "images": len(data.labels),
        **paired(before, after),
    }


def _as_input(artifact: Artifact, images: torch.Tensor) -> torch.Tensor:
    """Preprocessed images (N, C, H, W) as the artifact takes them, bytes perhaps."""
    if artifact.input.dtype == "float32":
        return images
    return normalisation_of(artifact).to_bytes(images)
