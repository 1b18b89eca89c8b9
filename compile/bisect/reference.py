"""The graphs that a program is held to inside: the network in float64, and as PyTorch computes it.

Each is computed from the module alone; nothing of them comes from the artifact.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from compile.errors import CheckFailed, first_line
from compile.graphs.lifted import float64_by_default, lift
from compile.graphs.names import exported
from compile.graphs.taps import GraphTaps, Tapped
from compile.network.fake_quantised import FakeQuantised, simulated
from compile.network.network import Network
from compile.network.prepare import cast, eager_dtype
from compile.spec import CompileSpec

_JITTER = 0.002
"""Part of int8's step by which a kernel may move a value before it is rounded: onnxruntime, for
one, rounds biases to the product of two scales (docs/log.md)."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a program is held to inside."""

    exact: GraphTaps
    """The network in float64."""
    eager: list[tuple[GraphTaps, int]]
    """As PyTorch computes it, one by one and all at once: graphs and the batch to run them at."""
    noisy: GraphTaps | None = None
    """A quantised one whose values are moved by as much as integer kernels may move them."""


def float_reference(network: Network, precision: str, rows: int) -> Reference:
    """The folded network in float64, and cast to the precision.

    Raises CheckFailed if the module cannot be exported.
    """
    wrappers = int(casts(precision))
    eager = [(GraphTaps(graph(network, precision), wrappers), 1)]
    with suppress(CheckFailed):  # it may insist on one sample at a time
        eager.append((GraphTaps(graph(network, precision, batch=rows), wrappers), rows))
    return Reference(exact=_Float64Taps(graph(network, "fp32")), eager=eager)


class _Float64Taps(GraphTaps):
    """A graph lifted to float64, as the oracle is where the module itself does not run there."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module, 0)
        lift(self.module)

    def tap(self, outputs: Sequence[str]) -> Tapped:
        """The values, in float64 wherever a step names no type."""
        run = super().tap(outputs)

        def exact(x: torch.Tensor) -> list[torch.Tensor]:
            with float64_by_default():
                return run(x)

        return exact


def grid_reference(quantised: FakeQuantised, rows: int) -> Reference:
    """The fake-quantised graph, which takes any batch."""
    eager = GraphTaps(simulated(quantised, torch.float32).network, 0)
    return Reference(
        exact=_Float64Taps(simulated(quantised, torch.float64).network),
        eager=[(eager, 1), (eager, rows)],
        noisy=GraphTaps(simulated(quantised, torch.float32, jitter=_JITTER).network, 0),
    )


def casts(precision: str) -> bool:
    """Whether a module around the network casts to the precision."""
    return eager_dtype(precision) != torch.float32


def graph(network: Network, precision: str, *, batch: int = 1) -> nn.Module:
    """The folded network's exported graph at a precision, for one batch.

    Raises CheckFailed if the module cannot be exported for it.
    """
    spec = CompileSpec(shape=network.shape, batch=(batch, batch))
    try:
        return exported(cast(network.folded, precision), spec).module()
    except Exception as error:
        reason = first_line(error)
        raise CheckFailed(f"the module cannot be exported for batch {batch}: {reason}") from error
