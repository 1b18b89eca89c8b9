"""A network whose outputs are joined to rows: one tensor for a proof to look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from compile.artifact.outputs import Layout
from compile.errors import CheckFailed
from compile.graphs.names import NETWORK
from compile.network.outputs import Named, inside
from compile.returned import as_tuple


class OtherShapes(CheckFailed):
    """A network returned something else than it did for the first image."""


class Flat(nn.Module):
    """A network whose outputs are joined to rows (N, width) of the values that a proof looks at."""

    def __init__(self, network: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.add_module(NETWORK, network)
        self.layout = layout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, width). Raises OtherShapes for outputs that do not fit the layout."""
        returned = self.network(x)
        self._check(as_tuple(returned), len(x))
        return self.layout.join(returned)

    def _check(self, given: Sequence[torch.Tensor], batch: int) -> None:
        outputs = self.layout.outputs
        if len(given) != len(outputs):
            raise OtherShapes(
                f"the module returns {len(given)} tensors for a batch of {batch}; it must return "
                f"{len(outputs)}, as for the first image"
            )
        for tensor, output in zip(given, outputs, strict=True):
            wanted = (batch, *output.shape)
            if tuple(tensor.shape) != wanted:
                raise OtherShapes(
                    f"the module's output '{output.name}' is {tuple(tensor.shape)} for a batch of "
                    f"{batch}; it must be {wanted}, as for the first image: the batch comes first, "
                    "and the other dimensions are the same for every image"
                )

    @property
    def network(self) -> nn.Module:
        """The network inside."""
        return inside(self)


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside the wrappers that zoo puts around it."""
    while isinstance(module, Flat | Named):
        module = inside(module)
    return module
