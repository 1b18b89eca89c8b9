"""Does a compiled program still compute the module's function? docs/parity.md explains the rule.

The oracle is the module in float64. Eager PyTorch at precision p is wrong by E_p against it; a
program at p may be wrong by k * E_p + floor, per sample:

    rmse(program) <= k * E_p + floor,    floor = eps(p) / 2 * rms(oracle of that sample)

and must name the oracle's most likely class wherever the oracle's margin exceeds 4 bounds. At low
precision that bound is wide, so two gates stand beside it: the graph before the cast is held to
the fp32 bound, and the constants in the file to the folded module within one rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate

from compile.backends.base import Program
from compile.errors import BadArtifact, CheckFailed
from compile.manifest import ROWS
from compile.precision import precision

_MARGIN_BOUNDS = 4.0


@dataclass(frozen=True, kw_only=True)
class Golden:
    """The samples on which an artifact proves itself."""

    input: torch.Tensor
    """(16, C, H, W) float32."""
    oracle: torch.Tensor
    """(16, classes) float64: the module in float64."""
    kinds: tuple[str, ...]
    """`real`, `synthetic` or `normal`, per row."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How wrong a program may be, per golden sample."""

    k: float
    e_eager: torch.Tensor
    """(16,) root mean square error of eager PyTorch at the precision."""
    floor: torch.Tensor
    """(16,) half a rounding step of a typical output."""

    @property
    def bound(self) -> torch.Tensor:
        """(16,) largest root mean square error that passes."""
        return self.k * self.e_eager + self.floor


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What judging an output found."""

    rmse: list[float]
    ratio: float
    """Largest rmse / bound; at most 1 passes."""
    eager_ratio: float
    """Largest rmse / e_eager: how much more wrong than PyTorch itself."""
    max_abs: float
    sqnr_db: float | None
    decided: int
    """Samples whose oracle margin is wide enough that the class must agree."""
    agreed: int
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.reasons


def make_golden(
    module: nn.Module, shape: tuple[int, int, int], real: torch.Tensor | None, seed: int = 0
) -> Golden:
    """Choose 16 samples and compute their oracle. `real` is (N >= 8, C, H, W) float32 or None."""
    generator = torch.Generator().manual_seed(seed)
    half = ROWS // 2
    if real is None:
        coarse = torch.randn((half, shape[0], 4, 4), generator=generator)
        first = interpolate(coarse, size=shape[1:], mode="bilinear", align_corners=False)
    else:
        first = real[torch.linspace(0, len(real) - 1, half).long()]
    normal = torch.randn((half, *shape), generator=generator)
    x = torch.cat([first.float(), normal]).contiguous()
    kinds = ("synthetic" if real is None else "real",) * half + ("normal",) * half
    return Golden(input=x, oracle=oracle(module, x), kinds=kinds)


def oracle(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the module's outputs in float64, (N, classes)."""
    with torch.no_grad():
        out: torch.Tensor = copy.deepcopy(module).cpu().double().eval()(x.double())
    return out


def rmse(output: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Root mean square error over the classes, per sample: (N, classes) -> (N,) float64."""
    return (output.double() - reference).square().mean(dim=1).sqrt()


def bounds(module: nn.Module, name: str, golden: Golden) -> Bounds:
    """Measure how wrong eager PyTorch is at precision `name` on the golden samples.

    The error of one sample is a draw of luck, so e_eager is the set's largest error relative to
    the size of its sample's output, scaled to each sample: the worst of four ways to run eager
    PyTorch, NCHW or channels_last, one by one or all at once (other kernels round otherwise).
    """
    row = precision(name)
    dtype = getattr(torch, row.dtype)
    typical = golden.oracle.square().mean(dim=1).sqrt()
    relative = 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        eager = copy.deepcopy(module).cpu().eval().to(dtype)
        eager.to(memory_format=layout)  # type: ignore[call-overload]
        for size in (1, ROWS):
            with torch.no_grad():
                chunks = torch.split(golden.input.to(dtype), size)
                out = torch.cat([eager(x.contiguous(memory_format=layout)) for x in chunks])
            error = rmse(out, golden.oracle) / typical.clamp_min(1e-300)
            relative = max(relative, float(error.max()))
    return Bounds(k=row.k, e_eager=relative * typical, floor=row.eps / 2 * typical)


def judge(output: torch.Tensor, golden: Golden, limit: Bounds) -> Verdict:
    """Hold an output (16, classes) to the rule."""
    if output.shape != golden.oracle.shape:
        raise BadArtifact(
            f"the program returned {tuple(output.shape)}, expected {tuple(golden.oracle.shape)}"
        )
    error = rmse(output, golden.oracle)
    within = error <= limit.bound  # False for NaN
    largest = golden.oracle.topk(min(2, golden.oracle.shape[1]), dim=1).values
    margin = largest[:, 0] - largest[:, -1]
    sure = margin > _MARGIN_BOUNDS * limit.bound
    agrees = (output.argmax(dim=1) == golden.oracle.argmax(dim=1)) & sure
    reasons = []
    if not bool(torch.isfinite(output).all()):
        reasons.append("non-finite outputs")
    if not bool(within.all()):
        reasons.append(f"{int((~within).sum())} of {len(within)} samples beyond their bound")
    if int(agrees.sum()) < int(sure.sum()):
        reasons.append(f"another class in {int(sure.sum() - agrees.sum())} clear samples")
    if not bool(sure.any()):
        reasons.append("no sample is clear enough to compare classes (are the weights trained?)")
    noise = float((output.double() - golden.oracle).square().sum())
    signal = float(golden.oracle.square().sum())
    return Verdict(
        rmse=error.tolist(),
        ratio=float((error / limit.bound).max()),
        eager_ratio=float((error / limit.e_eager.clamp_min(1e-300)).max()),
        max_abs=float((output.double() - golden.oracle).abs().max()),
        sqnr_db=float(10 * torch.tensor(signal / noise).log10()) if noise > 0 else None,
        decided=int(sure.sum()),
        agreed=int(agrees.sum()),
        reasons=tuple(reasons),
    )


def padded(x: torch.Tensor, batch: tuple[int, int]) -> torch.Tensor:
    """Repeat rows from the start until x (N, ...) fills whole chunks of a program's batch.

    The chunks are those of docs/artifact.md (golden.pt), so Python and the runner see the same.
    """
    size = _chunk(len(x), batch)
    return x[torch.arange(len(x) + -len(x) % size) % len(x)].contiguous()


def run_rows(program: Program, x: torch.Tensor, batch: tuple[int, int]) -> torch.Tensor:
    """Run N rows through a program of batches min..max: (N, C, H, W) -> (N, classes)."""
    with torch.no_grad():
        chunks = torch.split(padded(x, batch), _chunk(len(x), batch))
        return torch.cat([program(rows).cpu().clone() for rows in chunks])[: len(x)]


def _chunk(rows: int, batch: tuple[int, int]) -> int:
    return max(batch[0], min(rows, batch[1]))


def gate_before_cast(folded: nn.Module, module: nn.Module, golden: Golden) -> dict[str, Any]:
    """Hold the folded module, run eagerly in float32, to the fp32 bound."""
    with torch.no_grad():
        out = copy.deepcopy(folded).cpu().float().eval()(golden.input)
    ratio = float((rmse(out, golden.oracle) / bounds(module, "fp32", golden).bound).max())
    return {"name": "fp32 before the cast", "value": ratio, "bound": 1.0, "passed": ratio <= 1.0}


def gate_constants(
    folded: nn.Module, name: str, constants: Iterable[torch.Tensor]
) -> dict[str, Any]:
    """Hold the constants in a file to the folded module's weights, within one rounding.

    Layouts are the backend's affair (packed, transposed, zero-padded), so the sorted non-zero
    values are compared. `value` is the worst difference in rounding steps.
    """
    row = precision(name)
    found: dict[int, list[torch.Tensor]] = {}
    for constant in constants:
        values = _sorted_values(constant)
        found.setdefault(len(values), []).append(values)
    worst, culprit = 0.0, None
    for weight_name, weight in _weights(folded):
        expected = _sorted_values(weight.to(getattr(torch, row.dtype)))
        step = row.eps * expected.abs().clamp_min(1e-300)
        distances = [
            float(((values - expected).abs() / step).max()) if len(expected) else 0.0
            for values in found.get(len(expected), [])
        ]
        distance = min(distances, default=float("inf"))
        if distance > worst:
            worst, culprit = distance, weight_name
    passed = worst <= 1.0
    value = worst if worst != float("inf") else None
    return {"name": "constants", "value": value, "bound": 1.0, "passed": passed, "worst": culprit}


def _weights(module: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    """Weights and biases of convolutions and linear layers."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            for part, tensor in layer.named_parameters(recurse=False):
                yield f"{name}.{part}", tensor.detach()


def _sorted_values(tensor: torch.Tensor) -> torch.Tensor:
    values = tensor.detach().flatten().double()
    return values[values != 0].sort().values


def require(gates: Iterable[dict[str, Any]], verdicts: dict[str, Verdict]) -> None:
    """Raise CheckFailed naming every gate and every place that failed."""
    failed = [f"{where}: {', '.join(v.reasons)}" for where, v in verdicts.items() if v.reasons]
    for gate in gates:
        if not gate["passed"]:
            at = f" at {gate['worst']}" if gate.get("worst") else ""
            failed.append(f"gate '{gate['name']}'{at} ({gate['value']} > {gate['bound']})")
    if failed:
        raise CheckFailed("parity failed: " + "; ".join(failed))


def determinism(
    programs: list[Program], x: torch.Tensor, batch: tuple[int, int], calls: int = 10
) -> dict[str, Any]:
    """Run the same chunk `calls` times on each of several loads and compare the bits."""
    rows = padded(x, batch)[: _chunk(len(x), batch)]
    with torch.no_grad():
        outputs = [program(rows).clone() for program in programs for _ in range(calls)]
    return {
        "calls": calls,
        "loads": len(programs),
        "threads": torch.get_num_threads(),
        "bit_identical": all(torch.equal(outputs[0], output) for output in outputs[1:]),
    }


def nonfinite(program: Program, x: torch.Tensor, batch: tuple[int, int]) -> dict[str, str]:
    """What one NaN, or one infinite, pixel in a sample does to that sample's output."""
    found = {}
    for name, value in (("nan", float("nan")), ("inf", float("inf"))):
        poisoned = x.clone()
        poisoned[0, 0, x.shape[2] // 2, x.shape[3] // 2] = value
        with torch.no_grad():
            output = program(padded(poisoned, batch)[: _chunk(len(x), batch)])[0]
        found[name] = "absorbs" if bool(torch.isfinite(output).all()) else "propagates"
    return found
