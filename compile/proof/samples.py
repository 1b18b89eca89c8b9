"""Makes the golden samples of one network: its own, and those that no data set holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property

import torch

from compile.network.network import Network
from compile.network.pixels import Normalisation, to_bytes
from compile.network.weights import weights_sha256
from compile.proof.golden import Golden, answered, choose_samples
from compile.proof.hostile import hostile_bytes, hostile_samples
from compile.proof.images import check_images
from compile.spec import ROWS

_NOISE_RANGE = 6.0
"""Noise of -3 to 3 becomes bytes of 0 to 255."""


class GoldenSamples:
    """The samples on which every artifact of one network proves itself.

    They and their oracle are computed once for each input type.
    """

    def __init__(
        self, network: Network, normalisation: Normalisation, real: torch.Tensor | None
    ) -> None:
        """`real` are inputs (N >= 8, C, H, W) float32, or None; BadArtifact for others."""
        if real is not None:
            check_images("samples", real, network.shape, at_least=ROWS // 2)
        self.network = network
        self.normalisation = normalisation
        self.real = real
        self.of_type = cache(self._make)

    @cached_property
    def sha256(self) -> str | None:
        """A hash of the real inputs; None if there are none."""
        return None if self.real is None else weights_sha256({"samples": self.real})

    def _make(self, input_type: str) -> Golden:
        """The samples for `float32` or `uint8`, with the network's answers in float64."""
        shape = self.network.shape
        pixels, kinds = choose_samples(shape, self.real)
        if input_type == "uint8":
            hostile, names = hostile_bytes(shape)
            inputs = torch.cat([self._to_bytes(pixels, kinds), hostile])
            pixels = self.normalisation.pixels(inputs)
        else:
            hostile, names = hostile_samples(shape)
            inputs = torch.cat([pixels, hostile])
            pixels = inputs.double()
        oracle, layout = self.network.oracle, self.network.layout
        return answered(oracle, layout, inputs, pixels, (*kinds, *names))

    def _to_bytes(self, pixels: torch.Tensor, kinds: Sequence[str]) -> torch.Tensor:
        """Samples (N, C, H, W) as bytes (N, H, W, C); noise is spread over a byte's range."""
        real = torch.tensor([kind == "real" for kind in kinds])[:, None, None, None]
        image = pixels.amin((1, 2, 3), keepdim=True) >= 0  # of 0 to 1
        noise = to_bytes(torch.where(image, pixels, pixels / _NOISE_RANGE + 0.5))
        return torch.where(real, self.normalisation.to_bytes(pixels), noise)

    def in_float32(self, golden: Golden) -> Golden:
        """The samples as PyTorch sees them: it makes its first error where it normalises bytes."""
        if golden.input.dtype != torch.uint8:
            return golden
        return replace(golden, pixels=self.normalisation.float32_pixels(golden.input))
