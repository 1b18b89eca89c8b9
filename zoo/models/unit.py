"""What the units of all families share, and how the weights of a fresh network are drawn."""

from __future__ import annotations

from typing import ClassVar

from torch import nn


class ResidualUnit(nn.Module):
    """The unit that a network repeats: a residual branch F and the shortcut around it.

    `isinstance(module, ResidualUnit)` finds the units of any network here, in order of depth.
    """

    has_shortcut: ClassVar[bool] = True
    """False for the units of plain networks, which are F alone."""

    @property
    def last_norm(self) -> nn.Module | None:
        """The norm that ends F, whose weight scales all of F; None if F ends in a convolution.

        A channel attention may follow it: that multiplies, so what is zero stays zero.
        """
        raise NotImplementedError

    def zero_branch(self) -> None:
        """Make F(x) zero, so that the unit starts as its shortcut alone (arXiv:1706.02677)."""
        assert self.last_norm is not None
        nn.init.zeros_(self.last_norm.get_parameter("weight"))


def initialise(network: nn.Module, *, zero_init_residual: bool = False) -> None:
    """Draw the convolutions' weights in place, with a variance that keeps the gradient's.

    Normal, with deviation sqrt(2 / fan-out) (arXiv:1502.01852). Norms and linear layers stay as
    torch makes them: scale 1 and shift 0; uniform in +-1/sqrt(inputs).
    """
    for module in network.modules():
        # A network on the meta device is there to be counted: its weights have no values.
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if zero_init_residual:
        for module in network.modules():
            if isinstance(module, ResidualUnit):
                module.zero_branch()
