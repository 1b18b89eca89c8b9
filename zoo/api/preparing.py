"""A network made ready to be compiled, and what a manifest says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from compile.api import Model
    from compile.proof.prepared import PreparedModel
    from zoo.sources.source import Source


def prepare(
    source: Source,
    *,
    quantised: bool,
    images: Tensor | None = None,
    calibrate: Tensor | str | Path | None = None,
    num_images: int = 256,
    outputs: Mapping[str, str] | None = None,
) -> PreparedModel:
    """The network made ready to be compiled, with the data that proves it.

    Only quantised precisions need images to calibrate with and to count errors on. They come from
    `calibrate`, or from the run's own data, `num_images` of them. `outputs` are names and places,
    as zoo.sources.outputs.find_outputs gives them.
    """
    import torch

    from compile.proof.images import Calibration, Labelled
    from compile.proof.prepared import PreparedModel

    calibration = labelled = None
    if quantised:
        labelled = source.labelled()
        if isinstance(calibrate, torch.Tensor):
            calibration = calibrate, "given"
        else:
            folder = None if calibrate is None else Path(calibrate)
            calibration = source.calibration(folder, num_images)
    pixels = source.preprocessing
    return PreparedModel(
        source.network,
        source.shape,
        samples=source.samples() if images is None else images,
        calibration=calibration and Calibration(images=calibration[0], source=calibration[1]),
        labelled=labelled and Labelled(images=labelled[0], labels=labelled[1]),
        mean=pixels["mean"] if pixels else None,
        std=pixels["std"] if pixels else None,
        outputs=outputs,
        classes=len(source.classes) if source.classes else None,
    )


def manifest_model(source: Source) -> Model:
    """What the manifest says of the network besides its weights."""
    from compile.api import Model

    pixels = source.preprocessing
    return Model(
        name=source.name,
        source=source.origin,
        classes=source.classes,
        preprocessing=dict(pixels) if pixels else None,
        macs=None if source.origin == "module" else source.macs,
        shape=source.native,
    )
