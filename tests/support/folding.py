"""A network with one batch norm to fold, and whether it still does something."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

X = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """A layer, a batch norm, and the mean over all places."""

    def __init__(self, layer: nn.Module | None = None, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.conv: Any = layer or nn.Conv2d(2, 4, 3, bias=False)
        self.norm: Any = norm or nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)).flatten(2).mean(2)


def trained(net: nn.Module) -> Any:
    """In evaluation mode, its batch norms unlike fresh ones."""
    generator = torch.Generator().manual_seed(3)
    for each in net.modules():
        if isinstance(each, nn.modules.batchnorm._NormBase) and each.running_var is not None:
            assert each.running_mean is not None
            each.running_mean.normal_(generator=generator)
            each.running_var.uniform_(0.3, 2, generator=generator)
            if each.affine:
                nn.init.uniform_(each.weight, 0.5, 1.5, generator)
                nn.init.normal_(each.bias, generator=generator)
    return net.eval()


def norms(net: nn.Module) -> int:
    """How many batch norms still do something."""
    found = [each for each in net.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    return sum(each.eps != 0.5 for each in found)


class Activated(nn.BatchNorm2d):
    """Does more than normalise, as timm's norms do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()
