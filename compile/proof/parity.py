"""Does a compiled program still compute the module's function? docs/parity.md explains the rule.

The oracle is the module in float64. Eager PyTorch at precision p is wrong by E_p against it; a
program at p may be wrong by k * E_p + floor, per sample:

    rmse(program) <= k * E_p + floor,    floor = eps(p) / 2 * rms(oracle of that sample)

It must also name the oracle's most likely class wherever the oracle's margin exceeds 4 bounds. At
low precision that bound is wide, so there are two gates beside it. The graph before the cast is
held to the fp32 bound; the constants in the file may differ from the folded module's by one
rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from compile.errors import BadArtifact, CheckFailed, first_line
from compile.network.copying import copied, in_type
from compile.network.prepare import eager_dtype
from compile.precision import precision, tensor_float
from compile.proof.golden import Bounds, Golden
from compile.spec import ROWS

_MARGIN_BOUNDS = 4.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judgement of one program's outputs."""

    rmse: list[float]
    ratio: float
    """Largest rmse / bound; at most 1 passes."""
    eager_ratio: float
    """Largest rmse / e_eager: how many times as wrong as PyTorch itself."""
    worst: str
    """The kind of the sample that is furthest beyond its bound, or nearest to it."""
    kinds: dict[str, dict[str, float]]
    """For each kind of sample: how many `samples`, their largest `ratio` and `eager_ratio`."""
    max_abs: float
    """Largest error of one value in the ordinary samples."""
    sqnr_db: float | None
    """Signal to noise ratio of the ordinary samples; None where there is no noise."""
    decided: int
    """Samples whose oracle margin is wide enough that the class must agree."""
    agreed: int
    """Those of them whose class agrees."""
    reasons: tuple[str, ...]
    """What is wrong, one sentence each; empty where the program passes."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons


def rmse(output: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Root mean square error over the classes, per sample: (N, classes) -> (N,) float64."""
    return (output.double() - reference).square().mean(dim=1).sqrt()


def measure_bounds(module: nn.Module, name: str, golden: Golden) -> Bounds:
    """Measure how wrong eager PyTorch is at precision `name`, and return the bounds that follow.

    At a quantised precision `module` is the fake-quantised graph, computing in float32.

    The error of one sample is a matter of luck. So e_eager is the largest relative error of the
    ordinary samples, scaled to the size of each sample. A hostile sample has its own e_eager where
    that is larger, and loosens no other sample's bound. Where PyTorch overflows on a hostile
    sample, its bound is NaN: `finite_rows` leaves it out.

    Raises CheckFailed where PyTorch cannot run the module at this precision, or overflows on an
    ordinary sample.
    """
    row = precision(name)
    size = golden.oracle.square().mean(dim=1).sqrt()
    errors = _eager_errors(module, name, golden).amax(dim=0)  # NaN is the largest of all
    errors = torch.where(torch.isfinite(errors), errors, torch.nan)
    ordinary = errors[:ROWS] / size[:ROWS].clamp_min(1e-300)
    if not bool(torch.isfinite(ordinary).all()):
        raise CheckFailed(
            f"PyTorch itself overflows in {name}: outputs not finite; take another --precision"
        )
    relative = max(row.least, float(ordinary.max()))
    e_eager = relative * size
    e_eager[ROWS:] = torch.maximum(e_eager, errors)[ROWS:]
    floor = row.eps / 2 * size
    if {"denormal", "zeros"} <= set(golden.kinds):  # a program may take subnormal numbers for zero
        tiny, zeros = map(golden.kinds.index, ("denormal", "zeros"))
        floor[tiny] += rmse(golden.oracle, golden.oracle[zeros])[tiny]
    return Bounds(k=row.k, e_eager=e_eager, floor=floor)


def _eager_errors(module: nn.Module, name: str, golden: Golden) -> torch.Tensor:
    """Root mean square errors (ways, N) of the ways to run PyTorch, NaN where it overflows.

    The ways are NCHW and channels_last, one sample at a time and all at once: their kernels round
    differently. A module may refuse some of the ways; where it refuses all, CheckFailed is raised.
    """
    rows = len(golden.input)
    # Most CPUs have no kernels for float16, and a call takes seconds. So one sample at a time is
    # tried only where all at once fails.
    half = eager_dtype(name) == torch.float16
    for sizes in ((rows,), (1,)) if half else ((1, rows),):
        errors, error = _run_each_way(module, name, golden, sizes)
        if errors:
            return torch.stack(errors)
    reason = f"PyTorch itself cannot run the module in {name}: {first_line(error)}"
    raise CheckFailed(f"{reason}; take another --precision") from error


def _run_each_way(
    module: nn.Module, name: str, golden: Golden, sizes: tuple[int, ...]
) -> tuple[list[torch.Tensor], Exception]:
    """The errors (N,) in each layout and size that runs, and the first failure of the others."""
    dtype = eager_dtype(name)
    tf32 = precision(name).tf32
    device = "cuda" if tf32 else "cpu"
    errors: list[torch.Tensor] = []
    failures: list[Exception] = []
    for layout in (torch.contiguous_format, torch.channels_last):
        eager = in_type(copied(module).to(device).eval(), dtype)
        eager.to(memory_format=layout)  # type: ignore[call-overload]
        for size in sizes:
            try:
                with torch.no_grad(), tensor_float(tf32):
                    chunks = torch.split(golden.pixels.to(device, dtype), size)
                    laid = (x.clone(memory_format=layout) for x in chunks)
                    out = torch.cat([eager(x) for x in laid])
            except RuntimeError as error:
                failures.append(error)
            else:
                errors.append(rmse(out.cpu(), golden.oracle))
    return errors, failures[0] if failures else RuntimeError("")


def finite_rows(golden: Golden, bounds: Bounds, name: str) -> tuple[Golden, Bounds]:
    """Leave out hostile samples on which PyTorch overflows at precision `name`."""
    kept = torch.isfinite(bounds.bound)
    reason = f"PyTorch itself overflows on it in {name}"
    return golden.without(kept, reason), bounds.take(kept)


def share(error: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """error / bound for each sample: (N,) and (N,) -> (N,). An error of 0 gives 0.

    A bound may be 0 too: a network without biases answers zeros with exactly 0, and so must the
    program.
    """
    return torch.where(error == 0, 0.0, error / bound)


def clear_rows(golden: Golden, bounds: Bounds) -> torch.Tensor:
    """(N,) booleans: where the oracle's margin is so wide that the class must agree."""
    largest = golden.oracle.topk(min(2, golden.oracle.shape[1]), dim=1).values
    margin = largest[:, 0] - largest[:, -1]
    return margin > _MARGIN_BOUNDS * bounds.bound


def judge(output: torch.Tensor, golden: Golden, bounds: Bounds) -> Verdict:
    """Hold an output (N, classes) to the rule."""
    if output.shape != golden.oracle.shape:
        raise BadArtifact(
            f"the program returned {tuple(output.shape)}, expected {tuple(golden.oracle.shape)}"
        )
    error = rmse(output, golden.oracle)
    within = error <= bounds.bound  # False for NaN
    ratios = share(error, bounds.bound)
    sure = clear_rows(golden, bounds)
    agrees = (output.argmax(dim=1) == golden.oracle.argmax(dim=1)) & sure
    worst = golden.kinds[int(ratios.argmax())]  # NaN is the largest of all
    reasons = []
    if not bool(torch.isfinite(output).all()):
        reasons.append("non-finite outputs")
    if not bool(within.all()):
        reasons.append(
            f"{int((~within).sum())} of {len(within)} samples beyond their bound, the worst "
            f"({worst}) {float(ratios.max()):.3g} times"
        )
    if int(agrees.sum()) < int(sure.sum()):
        reasons.append(f"another class in {int(sure.sum() - agrees.sum())} clear samples")
    if not bool(sure[:ROWS].any()):
        reasons.append("no sample is clear enough to compare classes (are the weights trained?)")
    # Of the ordinary samples: one of a size of 1e4 would drown them.
    differences = output[:ROWS].double() - golden.oracle[:ROWS]
    noise, signal = float(differences.square().sum()), float(golden.oracle[:ROWS].square().sum())
    to_eager = share(error, bounds.e_eager)
    return Verdict(
        rmse=error.tolist(),
        ratio=float(ratios.max()),
        eager_ratio=float(to_eager.max()),
        worst=worst,
        kinds=_by_kind(golden.kinds, ratios, to_eager),
        max_abs=float(differences.abs().max()),
        sqnr_db=float(10 * torch.tensor(signal / noise).log10()) if noise > 0 else None,
        decided=int(sure.sum()),
        agreed=int(agrees.sum()),
        reasons=tuple(reasons),
    )


def _by_kind(
    kinds: tuple[str, ...], ratios: torch.Tensor, to_eager: torch.Tensor
) -> dict[str, dict[str, float]]:
    """The largest rmse / bound and rmse / e_eager of each kind, and how many samples it has."""
    by_kind = {}
    for kind in dict.fromkeys(kinds):
        index = torch.tensor([each == kind for each in kinds])
        by_kind[kind] = {
            "samples": int(index.sum()),
            "ratio": float(ratios[index].max()),
            "eager_ratio": float(to_eager[index].max()),
        }
    return by_kind
