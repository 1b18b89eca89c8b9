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
from dataclasses import dataclass

import torch
from torch import nn

from compile.errors import BadArtifact, CheckFailed, first_line
from compile.network.prepare import eager_dtype
from compile.precision import precision, tensor_float
from compile.proof.golden import Bounds, Golden
from compile.spec import ROWS

_MARGIN_BOUNDS = 4.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What judging an output found."""

    rmse: list[float]
    ratio: float
    """Largest rmse / bound; at most 1 passes."""
    eager_ratio: float
    """Largest rmse / e_eager: how much more wrong than PyTorch itself."""
    worst: str
    """The kind of sample that came nearest to its bound, or went furthest beyond."""
    kinds: dict[str, dict[str, float]]
    """For each kind of sample `samples`, and the largest `ratio` and `eager_ratio`."""
    max_abs: float
    """Of the ordinary samples, as is `sqnr_db`."""
    sqnr_db: float | None
    decided: int
    """Samples whose oracle margin is wide enough that the class must agree."""
    agreed: int
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.reasons


def rmse(output: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Root mean square error over the classes, per sample: (N, classes) -> (N,) float64."""
    return (output.double() - reference).square().mean(dim=1).sqrt()


def bounds(module: nn.Module, name: str, golden: Golden) -> Bounds:
    """Measure how wrong eager PyTorch is at precision `name` on the golden samples.

    At a quantised precision `module` is the fake-quantised graph that computes in float32. The
    error of one sample is a draw of luck, so e_eager is the largest relative error of the ordinary
    samples, scaled to each sample. A hostile sample's is its own where that is larger: it loosens
    no other. Where PyTorch overflows on one, its bound is NaN: see `finite_rows`.
    """
    row = precision(name)
    typical = golden.oracle.square().mean(dim=1).sqrt()
    wrong = _eager_errors(module, name, golden).amax(dim=0)  # NaN is the largest of all
    wrong = torch.where(torch.isfinite(wrong), wrong, torch.nan)
    ordinary = wrong[:ROWS] / typical[:ROWS].clamp_min(1e-300)
    if not bool(torch.isfinite(ordinary).all()):
        raise CheckFailed(
            f"PyTorch itself overflows in {name}: outputs not finite; take another --precision"
        )
    relative = max(row.least, float(ordinary.max()))
    e_eager = relative * typical
    e_eager[ROWS:] = torch.maximum(e_eager, wrong)[ROWS:]
    floor = row.eps / 2 * typical
    if {"denormal", "zeros"} <= set(golden.kinds):  # a program may take subnormal numbers for zero
        tiny, zeros = map(golden.kinds.index, ("denormal", "zeros"))
        floor[tiny] += rmse(golden.oracle, golden.oracle[zeros])[tiny]
    return Bounds(k=row.k, e_eager=e_eager, floor=floor)


def _eager_errors(module: nn.Module, name: str, golden: Golden) -> torch.Tensor:
    """Root mean square errors (ways, N) of the ways to run PyTorch, NaN where it overflows.

    NCHW or channels_last, one by one or all at once: other kernels round otherwise. A module may
    insist on one of either; CheckFailed where none goes.
    """
    rows = len(golden.input)
    # Few CPUs have kernels for float16; without them a sample alone takes seconds.
    half = eager_dtype(name) == torch.float16
    for sizes in ((rows,), (1,)) if half else ((1, rows),):
        found, error = _ways(module, name, golden, sizes)
        if found:
            return torch.stack(found)
    reason = f"PyTorch itself cannot run the module in {name}: {first_line(error)}"
    raise CheckFailed(f"{reason}; take another --precision") from error


def _ways(
    module: nn.Module, name: str, golden: Golden, sizes: tuple[int, ...]
) -> tuple[list[torch.Tensor], Exception]:
    """The errors (N,) in each layout and size that goes, and why the first one does not."""
    dtype = eager_dtype(name)
    tf32 = precision(name).tf32
    device = "cuda" if tf32 else "cpu"
    found: list[torch.Tensor] = []
    errors: list[Exception] = []
    for layout in (torch.contiguous_format, torch.channels_last):
        eager = copy.deepcopy(module).to(device).eval().to(dtype)
        eager.to(memory_format=layout)  # type: ignore[call-overload]
        for size in sizes:
            try:
                with torch.no_grad(), tensor_float(tf32):
                    chunks = torch.split(golden.pixels.to(device, dtype), size)
                    laid = (x.clone(memory_format=layout) for x in chunks)
                    out = torch.cat([eager(x) for x in laid])
            except RuntimeError as error:
                errors.append(error)
            else:
                found.append(rmse(out.cpu(), golden.oracle))
    return found, errors[0] if errors else RuntimeError("")


def finite_rows(golden: Golden, limit: Bounds, name: str) -> tuple[Golden, Bounds]:
    """Leave out hostile samples on which PyTorch overflows at precision `name`."""
    kept = torch.isfinite(limit.bound)
    reason = f"PyTorch itself overflows on it in {name}"
    return golden.without(kept, reason), limit.take(kept)


def share(error: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """error / bound, where no error is 0 of any bound: (N,) and (N,) -> (N,).

    A network without biases gives exactly 0 for zeros, and so must the program: its bound is 0.
    """
    return torch.where(error == 0, 0.0, error / bound)


def judge(output: torch.Tensor, golden: Golden, limit: Bounds) -> Verdict:
    """Hold an output (N, classes) to the rule."""
    if output.shape != golden.oracle.shape:
        raise BadArtifact(
            f"the program returned {tuple(output.shape)}, expected {tuple(golden.oracle.shape)}"
        )
    error = rmse(output, golden.oracle)
    within = error <= limit.bound  # False for NaN
    ratios = share(error, limit.bound)
    largest = golden.oracle.topk(min(2, golden.oracle.shape[1]), dim=1).values
    margin = largest[:, 0] - largest[:, -1]
    sure = margin > _MARGIN_BOUNDS * limit.bound
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
    to_eager = share(error, limit.e_eager)
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
    found = {}
    for kind in dict.fromkeys(kinds):
        index = torch.tensor([each == kind for each in kinds])
        found[kind] = {
            "samples": int(index.sum()),
            "ratio": float(ratios[index].max()),
            "eager_ratio": float(to_eager[index].max()),
        }
    return found
