"""Inputs that no data set holds: they drive a program beyond the range of ordinary inputs.

They follow the 16 ordinary samples in golden.safetensors. docs/parity.md says why each is there.
"""

from __future__ import annotations

import torch

_LEVEL = 2.0  # about the brightest pixel of a normalised image
_HOT = 100.0
_LARGE, _SMALL = 1e4, 1e-4
_DENORMAL = 1e-40  # below float32's smallest normal number, 1.2e-38, and above its smallest, 1e-45


def hostile_samples(
    shape: tuple[int, int, int], seed: int = 0
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Return 7 samples (7, C, H, W) float32, finite, and the name of each."""
    normal = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))
    by_name = {
        "zeros": torch.zeros(shape),
        "constant": torch.full(shape, _LEVEL),
        "checkerboard": _LEVEL * (1 - 2 * _checkerboard(shape)),
        "hot pixel": _HOT * _one_pixel(shape),
        "large": _LARGE * normal,
        "small": _SMALL * normal,
        "denormal": _DENORMAL * normal,
    }
    return torch.stack(list(by_name.values())), tuple(by_name)


def hostile_bytes(shape: tuple[int, int, int]) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Return 5 samples (5, H, W, C) uint8 for a `shape` (C, H, W), and the name of each."""
    by_name = {
        "zeros": torch.zeros(shape),
        "constant": torch.full(shape, 128.0),
        "largest": torch.full(shape, 255.0),
        "checkerboard": 255 * _checkerboard(shape),
        "hot pixel": 255 * _one_pixel(shape),
    }
    stacked = torch.stack(list(by_name.values())).to(torch.uint8)
    return stacked.permute(0, 2, 3, 1).contiguous(), tuple(by_name)


def _checkerboard(shape: tuple[int, int, int]) -> torch.Tensor:
    """(C, H, W): 0 and 1 take turns along rows and columns."""
    _, height, width = shape
    board = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    return board.float().expand(shape)


def _one_pixel(shape: tuple[int, int, int]) -> torch.Tensor:
    """(C, H, W): 1 in the middle of every channel, 0 everywhere else."""
    x = torch.zeros(shape)
    x[:, shape[1] // 2, shape[2] // 2] = 1
    return x
