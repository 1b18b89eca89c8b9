"""Make a module ready for every backend: cast it to a precision."""

from __future__ import annotations

import torch
from torch import nn

from compile.network.copying import copied, in_type
from compile.precision import precision
from compile.returned import Returned, each


class Cast(nn.Module):
    """A module that computes in `dtype` but takes and gives float32."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = in_type(module, dtype)
        self.dtype = dtype

    def forward(self, x: torch.Tensor) -> Returned:
        """(N, C, H, W) float32 -> (N, ...) float32 per output."""
        return each(self.module(x.to(self.dtype)), torch.Tensor.float)


def cast(module: nn.Module, name: str) -> nn.Module:
    """Return a copy of `module` that computes at precision `name` behind a float32 interface."""
    module = copied(module).eval()
    dtype = eager_dtype(name)
    return module if dtype == torch.float32 else Cast(module, dtype)


def eager_dtype(name: str) -> torch.dtype:
    """The dtype that eager PyTorch computes in at precision `name`; quantised graphs in float32."""
    return getattr(torch, precision(name).eager_dtype)
