"""Images as bytes, and the normalised pixels that a network sees: the way between the two."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from compile.artifact.reading import Artifact
from compile.errors import BadArtifact
from compile.returned import Returned


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What is done to pixels scaled to 0..1 before a network sees them: (pixel - mean) / std."""

    mean: tuple[float, ...]
    """Of each channel."""
    std: tuple[float, ...]
    """Of each channel, above 0."""

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Bytes (N, H, W, C) uint8 -> normalised pixels (N, C, H, W) float64."""
        mean, std = self._per_channel()
        return (images.permute(0, 3, 1, 2).double() / 255 - mean) / std

    def float32_pixels(self, images: torch.Tensor) -> torch.Tensor:
        """The same in float32, with the rounding errors of a program that normalises in float32."""
        return FromBytes(nn.Identity(), self).normalised(images)

    def to_bytes(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pixels (N, C, H, W) -> the nearest bytes (N, H, W, C) uint8."""
        mean, std = self._per_channel()
        return to_bytes(pixels.double() * std + mean)

    def _per_channel(self) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = (torch.tensor(each, dtype=torch.float64) for each in (self.mean, self.std))
        return mean[:, None, None], std[:, None, None]


def to_bytes(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels of 0..1 (N, C, H, W) -> the nearest bytes (N, H, W, C) uint8, cut off at both ends."""
    byte = (pixels * 255).round().clamp(0, 255)
    return byte.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


class FromBytes(nn.Module):
    """A module that takes the bytes of images as a camera gives them, and normalises them."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, module: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.module = module
        mean, std = normalisation._per_channel()
        self.register_buffer("scale", (1 / (255 * std)).float(), persistent=False)
        self.register_buffer("shift", (-mean / std).float(), persistent=False)

    def forward(self, x: torch.Tensor) -> Returned:
        """(N, H, W, C) uint8 -> (N, ...) float32 per output."""
        returned: Returned = self.module(self.normalised(x))
        return returned

    def normalised(self, x: torch.Tensor) -> torch.Tensor:
        """(N, H, W, C) uint8 -> (N, C, H, W) float32."""
        # Cast first: TensorRT turns floats and not bytes. In memory both ways give the same.
        return x.float().permute(0, 3, 1, 2) * self.scale + self.shift


def normalisation_of(artifact: Artifact) -> Normalisation:
    """The normalisation inside an artifact that takes bytes; BadArtifact if it names none."""
    preprocessing = artifact.manifest["model"]["preprocessing"]
    if preprocessing is None:
        raise BadArtifact(
            f"{artifact.path} takes bytes and does not say how they are normalised; build it again "
            "with `zoo compile --force`"
        )
    return Normalisation(mean=tuple(preprocessing["mean"]), std=tuple(preprocessing["std"]))
