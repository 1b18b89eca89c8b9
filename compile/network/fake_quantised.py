"""A network whose weights and activations are rounded to a grid, and that graph in float.

It is what a quantised program is held to (docs/parity.md), so it has an oracle in float64 like any
other module.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compile.errors import CheckFailed
from compile.graphs.names import module_of
from compile.returned import Returned, joined

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

FP8_STRETCH = 448 / 127
"""From the largest number of int8's symmetric grid to that of float8_e4m3fn."""


class FakeQuantised(nn.Module):
    """A graph with quantise/dequantise pairs, always in evaluation mode.

    If it is `single`, the graph takes one image: the network makes a number of its batch.
    """

    def __init__(self, graph: GraphModule, *, single: bool = False) -> None:
        super().__init__()
        self.network = graph
        self.single = single

    def forward(self, x: torch.Tensor) -> Returned:
        """(N, C, H, W) float32 -> (N, ...) float32 for each output."""
        if not self.single or len(x) == 1:
            return self.network(x)
        return joined([self.network(image) for image in torch.split(x, 1)])

    def train(self, mode: bool = True) -> FakeQuantised:
        """Exported graphs have no modes, and raise when they are asked for one."""
        del mode
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FakeQuantised:
        """A copy, without torch's warning about its own way to copy graphs."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return FakeQuantised(copy.deepcopy(self.network, memo), single=self.single)

    def weights(self, *, blind: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield names and values of the weights that every file of this graph holds unchanged.

        They are the int8 weights, and the float weights and biases of convolutions and linear
        layers. A compiler may turn others, such as those of a batch norm before its activation,
        into other constants. With `blind` they are those of layers that do not see the image. A
        compiler may write the answer of such a layer instead.
        """
        seeing = _seeing(self.network)
        for node in self.network.graph.nodes:
            if node.op != "get_attr" or node.target.startswith(("_scale", "_zero_point")):
                continue
            holder, _, name = node.target.rpartition(".")
            value = getattr(self.network.get_submodule(holder), name)
            if not isinstance(value, torch.Tensor):
                continue  # the part of the graph inside an autocast region
            value = value.detach()
            layer = _layer_of(node)
            if blind != (layer is not None and layer not in seeing):
                continue
            if layer is not None and module_of(layer):
                yield f"{module_of(layer)}.{'bias' if value.ndim == 1 else 'weight'}", value
            elif layer is not None or value.dtype == torch.int8:
                yield node.target, value


def _seeing(graph: GraphModule) -> set[Node]:
    """The steps whose values depend on the image."""
    seeing: set[Node] = set()
    for node in graph.graph.nodes:
        if node.op == "placeholder" or not seeing.isdisjoint(node.all_input_nodes):
            seeing.add(node)
    return seeing


def _layer_of(weight: Node) -> Node | None:
    """The convolution or linear layer that reads a weight, as it is or dequantised."""
    for node in (weight, *filter(_dequantises, weight.users)):
        for user in node.users:
            if str(user.target).startswith(("aten.conv", "aten.linear", "aten.addmm")):
                return user
    return None


def _dequantises(node: Node) -> bool:
    return str(node.target).startswith("quantized_decomposed.dequantize")


def simulated(
    quantised: FakeQuantised, dtype: torch.dtype, *, fp8: bool = False, jitter: float = 0.0
) -> FakeQuantised:
    """Return the fake-quantised graph computing in `dtype`, float32 or float64.

    With `fp8` its grid is that of float8_e4m3fn: the scales of the symmetric int8 graph are
    stretched from 127 to 448, the largest numbers of the two types. With `jitter` each value is
    moved by up to that part of a step before it is rounded. A kernel that rounds its bias, or the
    product of two scales, moves it as far.

    PyTorch's own quantise operators take float32 only. The same rounding is written out here, so
    that the graph has an oracle in float64 like any other module.
    """
    copied = copy.deepcopy(quantised)
    for node in copied.network.graph.nodes:
        if not is_quantiser(node.target):
            continue
        name = str(node.target).removeprefix("quantized_decomposed.").removesuffix(".default")
        if name not in _SIMULATIONS:
            raise CheckFailed(f"the quantised graph holds {name}, which cannot be simulated")
        node.target = _SIMULATIONS[name]
        node.kwargs = {"dtype": dtype, "fp8": fp8}
        if node.target is _quantize_tensor:
            node.kwargs = {**node.kwargs, "jitter": jitter}
    copied.network.recompile()
    return copied.to(dtype)


def is_quantiser(target: object) -> bool:
    """Whether a step of a graph rounds to the grid, or comes back from it."""
    return str(target).startswith("quantized_decomposed.")


def _quantize_tensor(
    x: torch.Tensor,
    scale: float,
    zero: int,
    low: int,
    high: int,
    *_: object,
    dtype: torch.dtype,
    fp8: bool,
    jitter: float,
) -> torch.Tensor:
    scaled = x * (1.0 / scale)
    if jitter:
        generator = torch.Generator().manual_seed(0)
        moved = torch.rand(x.shape, generator=generator, dtype=x.dtype)
        scaled = scaled + jitter * (2 * moved - 1)
    return _rounded_fp8(scaled) if fp8 else (scaled.round() + zero).clamp(low, high)


def _dequantize_tensor(
    x: torch.Tensor, scale: float, zero: int, *_: object, dtype: torch.dtype, fp8: bool
) -> torch.Tensor:
    return (x.to(dtype) - zero) * scale


def _dequantize_channel(
    x: torch.Tensor,
    scale: torch.Tensor,
    zero: torch.Tensor,
    axis: int,
    *_: object,
    dtype: torch.dtype,
    fp8: bool,
) -> torch.Tensor:
    shape = [1] * x.ndim
    shape[axis] = -1
    values = x.to(dtype) - zero.view(shape)
    return (_rounded_fp8(values) if fp8 else values) * scale.view(shape).to(dtype)


def _rounded_fp8(x: torch.Tensor) -> torch.Tensor:
    """Round x, of int8's range, to the numbers of float8_e4m3fn scaled to that range."""
    stretched = (x * FP8_STRETCH).clamp(-448, 448)
    return stretched.to(torch.float8_e4m3fn).to(x.dtype) / FP8_STRETCH


_SIMULATIONS = {
    "quantize_per_tensor": _quantize_tensor,
    "dequantize_per_tensor": _dequantize_tensor,
    "dequantize_per_channel": _dequantize_channel,
}
