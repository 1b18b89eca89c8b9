"""A module as someone gives it, made ready to be called."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from compile.network.checking import quiet_torch
from compile.network.copying import copied
from compile.network.layers import check_layers


def ready_to_call(module: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """`module` itself in evaluation mode, for images (N, C, H, W) float32 of `shape` (C, H, W).

    It keeps the number types that it has inside if it maps float32 to float32 as it stands.
    Otherwise all of its floats become float32. Raises BadArtifact for layers that cannot be copied.
    """
    check_layers(module)
    module.eval()
    held = (*module.parameters(), *module.buffers())
    if all(each.dtype == torch.float32 for each in held if each.is_floating_point()):
        return module
    try:
        with torch.no_grad(), quiet_torch():
            given = tree_leaves(copied(module)(torch.zeros(1, *shape)))
    except Exception:  # whatever it says of a number type
        return module.float()
    floats = [each for each in given if isinstance(each, torch.Tensor) and each.is_floating_point()]
    return module if all(each.dtype == torch.float32 for each in floats) else module.float()
