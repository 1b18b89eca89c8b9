"""What a set of weights is called (its hash) and what it must not hold (NaN, infinity)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compile.errors import BadArtifact


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """The hash of a state dict, the same on every machine and in every file format.

    sha256 over, for each name in sorted order, the UTF-8 text `name \\0 dtype \\0 shape \\0` (such
    as `fc.bias`, `float32`, `[10]`) followed by the elements, contiguous and little-endian. Memory
    format, device and the order of the dict do not matter.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        dtype = str(tensor.dtype).removeprefix("torch.")
        digest.update(f"{name}\0{dtype}\0{list(tensor.shape)}\0".encode())
        # Bytes through view(uint8), because numpy knows no bfloat16.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module's state dict, which may hold what a layer calls its extra state."""
    state = module.state_dict()
    return {name: each for name, each in state.items() if isinstance(each, Tensor)}


def check_finite(state: Mapping[str, Tensor], source: str = "weights") -> None:
    """Raise BadArtifact naming the first tensor of `source` that holds a NaN or an infinity."""
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        count = tensor.numel() - int(torch.isfinite(tensor).sum())
        if count:
            raise BadArtifact(
                f"{source}: tensor '{name}' holds {count} non-finite values of {tensor.numel()}; "
                "train again or take another checkpoint"
            )
