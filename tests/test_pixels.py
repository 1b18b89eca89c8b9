"""Bytes become normalised pixels and bytes again, without a difference."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from compile.errors import BadArtifact
from compile.network.pixels import Normalisation, normalisation_of, to_bytes

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
EVERY_BYTE = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)


def test_every_byte_comes_back() -> None:
    pixels = IMAGENET.pixels(EVERY_BYTE)
    assert (pixels.shape, pixels.dtype) == ((1, 3, 16, 16), torch.float64)
    assert torch.equal(IMAGENET.to_bytes(pixels), EVERY_BYTE)
    assert torch.equal(IMAGENET.to_bytes(pixels.float()), EVERY_BYTE), "as data sets hold them"


def test_each_channel_has_its_own_mean_and_deviation() -> None:
    white = IMAGENET.pixels(torch.full((1, 1, 1, 3), 255, dtype=torch.uint8)).flatten()
    wanted = [(1 - mean) / std for mean, std in zip(IMAGENET.mean, IMAGENET.std, strict=True)]
    torch.testing.assert_close(white, torch.tensor(wanted, dtype=torch.float64))


def test_float32_differs_by_its_rounding_alone() -> None:
    exact, rounded = IMAGENET.pixels(EVERY_BYTE), IMAGENET.float32_pixels(EVERY_BYTE)
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).abs().max()) < 1e-6


def test_what_lies_beyond_a_byte_is_cut_off() -> None:
    pixels = torch.tensor([-0.1, 0.4999 / 255, 0.5001 / 255, 1.1]).reshape(1, 1, 2, 2)
    assert to_bytes(pixels).flatten().tolist() == [0, 0, 1, 255]


def test_an_artifact_must_say_how_bytes_are_normalised() -> None:
    def artifact(preprocessing: dict[str, Any] | None) -> Any:
        manifest = {"model": {"preprocessing": preprocessing}}
        return SimpleNamespace(path=Path("artifacts/net"), manifest=manifest)

    known = {"mean": list(IMAGENET.mean), "std": list(IMAGENET.std), "height": 32}
    assert normalisation_of(artifact(known)) == IMAGENET
    with pytest.raises(BadArtifact, match="how they are normalised"):
        normalisation_of(artifact(None))
