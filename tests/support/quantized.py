"""A quantised network, as PT2E conversion leaves one, for the tests of its ONNX graphs."""

from __future__ import annotations

from typing import Any

import torch
import torch.ao.quantization.fx._decomposed  # defines torch.ops.quantized_decomposed
from torch import nn

from compile.backends.onnx import export
from compile.spec import CompileSpec

_OPS = torch.ops.quantized_decomposed
SHAPE = (3, 8, 8)


class QuantizedLayer(nn.Module):
    """A convolution or matrix with an INT8 weight per output channel and a quantised input."""

    def __init__(self, weight: torch.Tensor, scale: float, bits: torch.dtype = torch.int8) -> None:
        super().__init__()
        step = weight.abs().amax(tuple(range(1, weight.ndim))) / 127
        shaped = step.view(-1, *[1] * (weight.ndim - 1))
        self.scale = scale
        self.register_buffer("weight", (weight / shaped).round().to(bits))
        self.register_buffer("step", step)
        self.register_buffer("zero", torch.zeros(len(step), dtype=torch.int64))
        self.bias = nn.Parameter(torch.linspace(-1, 1, len(step)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = _OPS.quantize_per_tensor(x, self.scale, 0, -128, 127, torch.int8)
        x = _OPS.dequantize_per_tensor(x, self.scale, 0, -128, 127, torch.int8)
        weight = _OPS.dequantize_per_channel(
            self.weight, self.step, self.zero, 0, -127, 127, torch.int8
        )
        layer = nn.functional.conv2d if weight.ndim == 4 else nn.functional.linear
        return layer(x, weight, self.bias)


class QuantizedNet(nn.Module):
    """(N, 3, 8, 8) -> (N, 4): a stem of three channels, a body of sixteen, a matrix.

    Stem and head have the same scale, so the exporter gives them one constant.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.stem = QuantizedLayer(torch.randn(16, 3, 3, 3, generator=generator), 0.02)
        self.body = QuantizedLayer(torch.randn(32, 16, 3, 3, generator=generator), 0.05)
        self.head = QuantizedLayer(torch.randn(4, 32, generator=generator), 0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(self.stem(x).relu() / 5).relu() / 20
        return self.head(x.mean((2, 3)))


def graph_of(net: nn.Module, batch: tuple[int, int] = (1, 8), opset: int | None = None) -> Any:
    """The ONNX graph that the exporter makes of `net`."""
    return export(net.eval(), CompileSpec(shape=SHAPE, batch=batch), opset)


def samples(count: int = 4) -> torch.Tensor:
    """Seeded inputs (count, 3, 8, 8) float32."""
    return torch.randn((count, *SHAPE), generator=torch.Generator().manual_seed(1))
