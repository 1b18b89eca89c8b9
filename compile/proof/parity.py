"""Does a compiled program still compute the module's function? docs/parity.md explains the rule.

The oracle is the module in float64. The module itself, evaluated at precision p in legal ways, is
wrong by E_p against it; a program at p may be wrong by k * E_p + floor, per sample:

    rmse(program) <= k * E_p + floor,    floor = eps(p) / 2 * rms(oracle of that sample)

It must also name the oracle's most likely class wherever the oracle's margin exceeds 4 bounds. At
low precision that bound is wide, so there are two gates beside it. The graph before the cast is
held to the fp32 bound; the constants in the file may differ from the folded module's by one
rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from compile.errors import BadArtifact
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
            f"({worst}) {float(ratios.max()):.3g} times: wrong by {_size(error, golden, ratios)} "
            f"of the output, PyTorch by {_size(bounds.e_eager, golden, ratios)}"
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


def _size(error: torch.Tensor, golden: Golden, ratios: torch.Tensor) -> str:
    """The error of the worst sample beside the size of its output, such as `2.1e-06`."""
    row = int(ratios.argmax())
    size = golden.oracle[row].square().mean().sqrt()
    return f"{float(error[row] / size):.1e}"


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
