"""Gates beside parity's bound: each finds a fault that the outputs of sixteen samples may hide.

A gate is an entry of the manifest: its name, what was measured, what is allowed, whether it passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from compile.artifact.programs import Program
from compile.errors import BadArtifact
from compile.network.copying import copied
from compile.proof import parity
from compile.proof.golden import Bounds, Golden
from compile.report import short
from compile.returned import each

Gate = dict[str, Any]

_LARGEST_NOISE = 0.7
"""Largest noise, relative to how much the outputs of different inputs differ: 3 dB of signal to
noise."""


def before_cast(folded: nn.Module, golden: Golden, bounds: Bounds) -> Gate:
    """Hold the folded module, which returns rows, to the bounds of fp32, run eagerly in float32."""
    module = copied(folded).cpu().eval()
    out = _in_float32(module, golden)
    ratio = float(parity.share(parity.errors(out, golden), bounds.bound).max())
    value = ratio if math.isfinite(ratio) else None
    return {"name": "fp32 before the cast", "value": value, "bound": 1.0, "passed": ratio <= 1.0}


def _in_float32(module: nn.Module, golden: Golden) -> torch.Tensor:
    """The module's rows for the samples, one by one: (N, width) float32."""
    with torch.no_grad():
        return torch.cat([module(sample) for sample in torch.split(golden.pixels.float(), 1)])


def quantisation_noise(quantised: nn.Module, golden: Golden) -> Gate:
    """Compare the error that quantisation adds with how much the outputs of the inputs differ.

    `quantised` is the fake-quantised graph, which returns rows, `golden` the ordinary samples. The
    worst output counts. This gate needs no labels: where the ranges cut everything off, the outputs
    no longer depend on the input.
    """
    noise = _in_float32(quantised, golden).double() - golden.oracle
    signal = golden.oracle - golden.oracle.mean(dim=0)
    sizes = [
        noise[:, columns].square().mean().sqrt()
        / signal[:, columns].square().mean().sqrt().clamp_min(1e-300)
        for columns in golden.layout.columns
    ]
    value = float(torch.stack(sizes).max())
    passed = value <= _LARGEST_NOISE
    entry = {"name": "quantisation noise", "value": value if math.isfinite(value) else None}
    return {**entry, "bound": _LARGEST_NOISE, "passed": passed}


def batches(program: Program, golden: Golden, bounds: Bounds, sizes: Sequence[int]) -> Gate:
    """Hold the saved file to the bounds at every batch in `sizes`, each a call of its own."""
    worst, culprit = 0.0, None
    for size in sizes:
        index = golden.rows(size)
        with torch.no_grad():
            returned = each(program(golden.input[index].contiguous()), torch.Tensor.cpu)
        rows = golden.layout.join(golden.layout.check(returned))
        error = golden.layout.rms(rows.double() - golden.oracle[index])
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


def failures(gates: Iterable[Gate], verdicts: Mapping[str, parity.Verdict]) -> tuple[str, ...]:
    """What failed, in words: every place, then every gate; nothing if all passed."""
    places: dict[str, list[str]] = {}
    for where, verdict in verdicts.items():
        if verdict.reasons:
            places.setdefault(", ".join(verdict.reasons), []).append(where)
    failed = [f"{', '.join(alike)}: {reasons}" for reasons, alike in places.items()]
    for gate in gates:
        if not gate["passed"]:
            at = f" at {gate['worst']}" if gate.get("worst") else ""
            value = "not finite" if gate["value"] is None else short(gate["value"])
            failed.append(f"gate '{gate['name']}'{at} ({value} for a bound of {gate['bound']:g})")
    return tuple(failed)
