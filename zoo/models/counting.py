"""The size of a network: its parameters, and its multiply-accumulates for one sample."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters; running statistics are not among them."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def macs(model: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of the convolutions and linear layers for one sample (C, H, W).

    This is what papers call "FLOPs" and what torch counts as two operations each. Additions,
    batch norms and pooling are left out, as they are there. One forward pass in evaluation mode.
    """
    parameter = next(model.parameters())
    sample = torch.zeros((1, *input_shape), dtype=parameter.dtype, device=parameter.device)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(sample)
    finally:
        for module, training in modes:
            module.training = training
    return int(counter.get_total_flops()) // 2
