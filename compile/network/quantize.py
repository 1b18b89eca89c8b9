"""Post-training quantisation: a graph whose weights and activations are rounded to a grid.

torchao's PT2E flow observes the activations on calibration images and puts a quantise/dequantise
pair around each operator that has an integer kernel. That graph, run in float, is what a quantised
program is held to (docs/parity.md): backends compile it, ONNX writes the pairs down as they are.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compile import machine
from compile.errors import BadArtifact, CheckFailed, first_line
from compile.graphs.names import keep_names, module_of
from compile.spec import MAX_BATCH

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

MIN_SAMPLES = 32
"""Fewer images than this leave the ranges of activations to chance."""

CHUNK = 16

FP8_STRETCH = 448 / 127
"""From the largest number of int8's symmetric grid to that of float8_e4m3fn."""

SCHEMES = ("x86", "x86-7bit", "symmetric")
"""`x86`: unsigned activations with a zero point, for CPUs with VNNI. `x86-7bit`: the same with
weights of 7 bits, for CPUs without. `symmetric`: for TensorRT."""


def scheme_here(quantizer: str) -> str:
    """The scheme for a backend's QUANTIZER on this CPU.

    Without VNNI a CPU adds two products of bytes in 16 bits. 255 * 127 * 2 does not fit there, and
    the sum is cut off silently. With weights from -64 to 63 it fits.
    """
    return "x86-7bit" if quantizer == "x86" and machine.vnni() is None else quantizer


class FakeQuantised(nn.Module):
    """A graph with quantise/dequantise pairs, always in evaluation mode."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.network = graph

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) float32 -> (N, classes) float32."""
        return self.network(x)

    def train(self, mode: bool = True) -> FakeQuantised:
        """Exported graphs have no modes, and raise when they are asked for one."""
        del mode
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> FakeQuantised:
        """A copy, without torch's warning about its own way to copy graphs."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return FakeQuantised(copy.deepcopy(self.network, memo))

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield names and values of the weights that every file of this graph holds unchanged.

        They are the int8 weights, and the float weights and biases of convolutions and linear
        layers. A compiler may turn others, such as those of a batch norm before its activation,
        into other constants.
        """
        for node in self.network.graph.nodes:
            if node.op != "get_attr" or node.target.startswith(("_scale", "_zero_point")):
                continue
            holder, _, name = node.target.rpartition(".")
            value = getattr(self.network.get_submodule(holder), name)
            if not isinstance(value, torch.Tensor):
                continue  # the part of the graph inside an autocast region
            value = value.detach()
            layer = _layer_of(node)
            if layer is not None and module_of(layer):
                yield f"{module_of(layer)}.{'bias' if value.ndim == 1 else 'weight'}", value
            elif layer is not None or value.dtype == torch.int8:
                yield node.target, value


def _layer_of(weight: Node) -> Node | None:
    """The convolution or linear layer that reads a weight, as it is or dequantised."""
    for node in (weight, *filter(_dequantises, weight.users)):
        for user in node.users:
            if str(user.target).startswith(("aten.conv", "aten.linear", "aten.addmm")):
                return user
    return None


def _dequantises(node: Node) -> bool:
    return str(node.target).startswith("quantized_decomposed.dequantize")


def quantize(module: nn.Module, calibration: torch.Tensor, scheme: str) -> FakeQuantised:
    """Return the fake-quantised graph of a folded module, for any batch.

    Args:
        module: maps float32 (N, C, H, W) to (N, classes).
        calibration: (N >= MIN_SAMPLES, C, H, W) float32 images like those of the later inputs.
        scheme: one of SCHEMES.

    Raises BadArtifact for too few images, CheckFailed for a module that cannot be quantised.
    """
    if len(calibration) < MIN_SAMPLES:
        raise BadArtifact(
            f"{len(calibration)} calibration images are too few; int8 needs {MIN_SAMPLES}: "
            "give --calibrate another folder, or more --samples"
        )
    try:
        # Only the strict exporter tells apart the two calls of a module that is called twice, such
        # as one ReLU for a whole block. But it refuses some modules that the other one takes.
        # Before torch 2.12 torchao finds no layers at all in the graphs of the other one.
        try:
            return _quantize(module, calibration, scheme, strict=False)
        except (ValueError, CheckFailed):
            return _quantize(module, calibration, scheme, strict=True)
    except Exception as error:
        reason = first_line(error)
        raise CheckFailed(f"the module cannot be quantised: {reason}") from error


def _quantize(
    module: nn.Module, calibration: torch.Tensor, scheme: str, *, strict: bool
) -> FakeQuantised:
    with _quiet(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
        exported = torch.export.export(
            copy.deepcopy(module).eval(),
            (calibration[:2],),
            dynamic_shapes=({0: batch},),
            strict=strict,
        )
        keep_names(exported, module)
        observed = prepare_pt2e(exported.module(), _quantizer(scheme))
        for images in torch.split(calibration, CHUNK):
            observed(images)
        converted: GraphModule = convert_pt2e(observed)
    if not any(_is_quantiser(node.target) for node in converted.graph.nodes):
        raise CheckFailed("no operator of it has an integer kernel")
    return FakeQuantised(converted)


def _quantizer(scheme: str) -> Any:
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    quantizer = x86.X86InductorQuantizer()
    config = x86.get_default_x86_inductor_quantization_config()
    if scheme == "x86-7bit":
        config = replace(config, weight=replace(config.weight, quant_min=-64, quant_max=63))
    quantizer.set_global(_symmetric(config) if scheme == "symmetric" else config)
    return quantizer


def _symmetric(config: Any) -> Any:
    """The same layers with signed activations and no zero points, which TensorRT asks for."""
    from torchao.quantization.pt2e import HistogramObserver, PerChannelMinMaxObserver

    limits = {"dtype": torch.int8, "quant_min": -127, "quant_max": 127}
    activation = replace(
        config.input_activation,
        **limits,
        qscheme=torch.per_tensor_symmetric,
        observer_or_fake_quant_ctr=HistogramObserver.with_args(eps=2**-12),
    )
    weight = replace(
        config.weight,
        **limits,
        observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=2**-12),
    )
    return replace(config, input_activation=activation, output_activation=activation, weight=weight)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torchao, which warns of CUDA extensions that it cannot load and of deprecations."""
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


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
        if not _is_quantiser(node.target):
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


def _is_quantiser(target: object) -> bool:
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
