"""What the tests of importing and exporting share: a small network, files as others write them."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from zoo.models import build
from zoo.models.calibration import calibrate_batch_norms

SMALL = "resnet10t"
"""The smallest that timm has too: 21 MB."""


def lifelike(network: nn.Module) -> nn.Module:
    """Batch norms that are not those of a fresh network, which would hide a lost tensor."""
    calibrate_batch_norms(network, (3, 32, 32), seed=1)
    return network.eval()


def logits(network: nn.Module, channels: int = 3) -> Tensor:
    images = torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return network.eval()(images)


def publish(
    folder: Path, name: str, content: object, suffix: str = "pth", *, old: bool = False
) -> Path:
    """Save as the libraries do, under a name that ends in the hash of the file."""
    if suffix == "safetensors":
        data = safetensors.torch.save(content)
    else:
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=not old)
        data = buffer.getvalue()
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.{suffix}"
    path.write_bytes(data)
    return path


@cache
def small_state() -> dict[str, Tensor]:
    """A state dict of SMALL; never change it."""
    return lifelike(build(SMALL, seed=0)).state_dict()
