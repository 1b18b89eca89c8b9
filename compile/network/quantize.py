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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compile import machine
from compile.errors import BadArtifact, CheckFailed, first_line
from compile.graphs.names import keep_names
from compile.network.fake_quantised import FakeQuantised, is_quantiser
from compile.network.readable import readable
from compile.spec import MAX_BATCH

if TYPE_CHECKING:
    from torch.fx import GraphModule

MIN_SAMPLES = 32
"""Fewer images than this leave the ranges of activations to chance."""

CHUNK = 16

SCHEMES = ("x86", "x86-7bit", "symmetric")
"""`x86`: unsigned activations with a zero point, for CPUs with VNNI. `x86-7bit`: the same with
weights of 7 bits, for CPUs without. `symmetric`: for TensorRT."""


def scheme_here(quantizer: str) -> str:
    """The scheme for a backend's QUANTIZER on this CPU.

    Without VNNI a CPU adds two products of bytes in 16 bits. 255 * 127 * 2 does not fit there, and
    the sum is cut off silently. With weights from -64 to 63 it fits.
    """
    return "x86-7bit" if quantizer == "x86" and machine.vnni() is None else quantizer


def quantize(module: nn.Module, calibration: torch.Tensor, scheme: str) -> FakeQuantised:
    """Return the fake-quantised graph of a folded module, for any batch if it can have any.

    Args:
        module: maps float32 (N, C, H, W) to (N, ...), or to several of these.
        calibration: (N >= MIN_SAMPLES, C, H, W) float32 images like those of the later inputs.
        scheme: one of SCHEMES.

    Raises BadArtifact for too few images, CheckFailed for a module that cannot be quantised.
    """
    if len(calibration) < MIN_SAMPLES:
        raise BadArtifact(
            f"{len(calibration)} calibration images are too few; int8 needs {MIN_SAMPLES}: "
            "give --calibrate another folder, or more --samples"
        )
    errors = []
    for export in _EXPORTS:
        try:
            return _quantize(module, calibration, scheme, export)
        except MemoryError:
            raise
        except Exception as error:
            errors.append(error)
    raise CheckFailed(f"the module cannot be quantised: {first_line(errors[0])}") from errors[0]


@dataclass(frozen=True, kw_only=True)
class _Export:
    """A way to export a module."""

    strict: bool = False
    """If a module is called twice, such as one ReLU for a whole block, only the strict exporter
    tells the two calls apart. But it refuses some modules that the other one takes. Before torch
    2.12 torchao finds no layers at all in the graphs of the other one."""
    single: bool = False
    """Export for one image, so that forward may turn the batch into a number, as len(x) does."""


_EXPORTS = (_Export(), _Export(strict=True), _Export(single=True))
"""Tried in this order."""


def _quantize(
    module: nn.Module, calibration: torch.Tensor, scheme: str, way: _Export
) -> FakeQuantised:
    with _quiet(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
        exported = torch.export.export(
            copy.deepcopy(module).eval(),
            (calibration[: 1 if way.single else 2],),
            dynamic_shapes=None if way.single else ({0: batch},),
            strict=way.strict,
        )
        keep_names(exported, module)
        observed = prepare_pt2e(readable(exported.module()), _quantizer(scheme))
        for images in torch.split(calibration, 1 if way.single else CHUNK):
            observed(images)
        converted: GraphModule = convert_pt2e(observed)
    if not any(is_quantiser(node.target) for node in converted.graph.nodes):
        raise CheckFailed("no operator of it has an integer kernel")
    return FakeQuantised(converted, single=way.single)


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
