"""The images that are handed in beside a network: to calibrate it with, and to count errors on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from compile.errors import BadArtifact


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Samples with known classes."""

    images: torch.Tensor
    """(N, C, H, W) float32, preprocessed."""
    labels: torch.Tensor
    """(N,) class indices."""
    reference: torch.Tensor | None = None
    """(N,) the classes that the float64 model gives, where they were asked for."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Images that decide the ranges of a quantised network's activations."""

    images: torch.Tensor
    """(N, C, H, W) float32, preprocessed."""
    source: str
    """Where they came from, for the manifest."""


def check_images(
    what: str, images: torch.Tensor, shape: tuple[int, int, int], *, at_least: int
) -> None:
    """Raise BadArtifact unless `images` are (N >= at_least, *shape) float32 and finite."""
    fits = images.ndim == 4 and tuple(images.shape[1:]) == shape and len(images) >= at_least
    if not fits or images.dtype != torch.float32 or not bool(torch.isfinite(images).all()):
        given = f"{tuple(images.shape)} {str(images.dtype).removeprefix('torch.')}"
        wanted = f"(N >= {at_least}, {', '.join(map(str, shape))}) float32, finite"
        raise BadArtifact(f"the {what} are {given}; give {wanted}")
