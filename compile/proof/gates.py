"""Gates beside parity's bound: each finds a fault that the outputs of sixteen samples may hide.

A gate is an entry of the manifest: its name, what was measured, what is allowed, whether it passed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from compile.artifact.programs import Program
from compile.errors import BadArtifact
from compile.precision import REFERENCE, precision
from compile.proof import parity
from compile.proof.golden import Bounds, Golden

Gate = dict[str, Any]

_LARGEST_NOISE = 0.7
"""Largest noise, relative to how much the outputs of different inputs differ: 3 dB of signal to
noise."""

_WRITTEN_INTO_CODE = 8
"""AOTInductor writes vectors of this length or less, such as the bias of five classes, into its
code. Only the outputs prove them."""


def before_cast(folded: nn.Module, golden: Golden, bounds: Bounds) -> Gate:
    """Hold the folded module, run eagerly in float32, to the bounds of fp32."""
    module = copy.deepcopy(folded).cpu().float().eval()
    out = _in_float32(module, golden)
    ratio = float(parity.share(parity.rmse(out, golden.oracle), bounds.bound).max())
    value = ratio if math.isfinite(ratio) else None
    return {"name": "fp32 before the cast", "value": value, "bound": 1.0, "passed": ratio <= 1.0}


def _in_float32(module: nn.Module, golden: Golden) -> torch.Tensor:
    """The module's outputs for the samples, one by one: (N, classes) float32."""
    with torch.no_grad():
        return torch.cat([module(sample) for sample in torch.split(golden.pixels.float(), 1)])


def quantisation_noise(quantised: nn.Module, golden: Golden) -> Gate:
    """Compare the error that quantisation adds with how much the outputs of the inputs differ.

    `quantised` is the fake-quantised graph, `golden` the ordinary samples. This gate needs no
    labels: where the ranges cut everything off, the outputs no longer depend on the input.
    """
    noise = (_in_float32(quantised, golden).double() - golden.oracle).square().mean().sqrt()
    signal = (golden.oracle - golden.oracle.mean(dim=0)).square().mean().sqrt()
    value = float(noise / signal.clamp_min(1e-300))
    passed = value <= _LARGEST_NOISE
    entry = {"name": "quantisation noise", "value": value if math.isfinite(value) else None}
    return {**entry, "bound": _LARGEST_NOISE, "passed": passed}


def batches(program: Program, golden: Golden, bounds: Bounds, sizes: Sequence[int]) -> Gate:
    """Hold the saved file to the bounds at every batch in `sizes`, each a call of its own."""
    worst, culprit = 0.0, None
    for size in sizes:
        index = golden.rows(size)
        with torch.no_grad():
            out = program(golden.input[index].contiguous()).cpu()
        error = parity.rmse(out, golden.oracle[index])
        ratio = float(parity.share(error, bounds.bound[index]).max())
        if not ratio <= worst:  # NaN is the worst of all
            worst, culprit = ratio, f"batch {size}"
    value = worst if math.isfinite(worst) else None
    entry = {"name": "batches", "value": value, "bound": 1.0, "passed": worst <= 1.0}
    return {**entry, "sizes": list(sizes), "worst": culprit}


def refusals(program: Program, golden: Golden, sizes: Sequence[int]) -> Gate:
    """Hold the saved file to refusing every batch in `sizes`, which lie outside its range."""
    answered = []
    for size in sizes:
        with suppress(BadArtifact):
            program(golden.input[golden.rows(size)].contiguous())
            answered.append(size)
    worst = f"batch {answered[0]}" if answered else None
    return {
        "name": "batches refused",
        "value": float(len(answered)),
        "bound": 0.0,
        "passed": not answered,
        "sizes": list(sizes),
        "worst": worst,
    }


def constants(
    weights: Iterable[tuple[str, torch.Tensor]], name: str, constants: Iterable[torch.Tensor]
) -> Gate:
    """Hold the constants in a file to the weights it was built from, within one rounding.

    A backend may pack, transpose or pad them with zeros, so the sorted non-zero values are
    compared. `value` is the largest difference in rounding steps. Weights on int8's grid are
    compared as they are; all others are rounded to the precision `name` first.
    """
    quantised = precision(name).quantised
    by_length: dict[int, list[torch.Tensor]] = {}
    for constant in constants:
        values = _sorted_values(constant)
        by_length.setdefault(len(values), []).append(values)
    worst, culprit = 0.0, None
    for weight_name, weight in weights:
        on_grid = weight.dtype == torch.int8
        row = precision("int8" if on_grid else REFERENCE if quantised else name)
        expected = _sorted_values(weight if on_grid else weight.to(getattr(torch, row.dtype)))
        if not len(expected):  # all zeros, which the comparison leaves out
            continue
        step = row.eps * expected.abs().clamp_min(1e-300)
        distances = [
            float(((values - expected).abs() / step).max())
            for values in by_length.get(len(expected), [])
        ]
        if not distances and weight.numel() <= _WRITTEN_INTO_CODE:
            continue
        distance = min(distances, default=float("inf"))
        if not distance <= worst:  # NaN is the worst of all
            worst, culprit = distance, weight_name
    passed = worst <= 1.0
    value = worst if math.isfinite(worst) else None
    return {"name": "constants", "value": value, "bound": 1.0, "passed": passed, "worst": culprit}


def weights_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield names and values of weights and biases of convolutions and linear layers.

    Layers with a forward of their own are left out: see `not_compared`.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and not _computes(layer):
            for part, tensor in layer.named_parameters(recurse=False):
                yield f"{name}.{part}", tensor.detach()


def not_compared(module: nn.Module) -> list[dict[str, str]]:
    """The manifest's entry for layers with a forward of their own, whose weights are not compared.

    Such a layer may standardise its weights first; then the file may hold the standardised ones.
    """
    layers = [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    kinds = sorted({type(each).__name__ for each in layers if _computes(each)})
    reason = f"the layers {', '.join(kinds)} may compute their weights: the outputs prove them"
    return [{"name": "constants", "reason": reason}] if kinds else []


def _computes(layer: nn.Conv2d | nn.Linear) -> bool:
    """Whether a layer computes something else than PyTorch's own layer of its kind."""
    own = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
    return any(
        getattr(type(layer), name) is not getattr(own, name)
        for name in ("forward", "_conv_forward")
        if hasattr(own, name)
    )


def _sorted_values(tensor: torch.Tensor) -> torch.Tensor:
    values = tensor.detach().flatten().double()
    return values[values != 0].sort().values


def failures(gates: Iterable[Gate], verdicts: Mapping[str, parity.Verdict]) -> tuple[str, ...]:
    """What failed, in words: every place, then every gate; nothing where all passed."""
    failed = [f"{where}: {', '.join(v.reasons)}" for where, v in verdicts.items() if v.reasons]
    for gate in gates:
        if not gate["passed"]:
            at = f" at {gate['worst']}" if gate.get("worst") else ""
            failed.append(f"gate '{gate['name']}'{at} ({gate['value']} > {gate['bound']})")
    return tuple(failed)
