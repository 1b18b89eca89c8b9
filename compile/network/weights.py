"""What a set of weights is called (its hash) and what it must not hold (NaN, infinity)."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from contextlib import suppress

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


def structure_sha256(module: nn.Module) -> str:
    """A hash of a module's layers, their settings, and the source of their classes.

    It tells networks apart that hold the same weights and compute something else with them.
    """
    digest = hashlib.sha256(repr(module).encode())
    kinds = {type(each) for each in module.modules()}
    for kind in sorted(kinds, key=lambda each: f"{each.__module__}.{each.__qualname__}"):
        if not kind.__module__.startswith("torch."):
            with suppress(OSError, TypeError):  # typed into a prompt: no source to be had
                digest.update(inspect.getsource(kind).encode())
    return digest.hexdigest()


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
