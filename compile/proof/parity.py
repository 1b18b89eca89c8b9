"""Does a compiled program still compute the module's function? docs/parity.md explains the rule.

The oracle is the module in float64. The module itself, evaluated at precision p in legal ways, is
wrong by E_p against it; a program at p may be wrong by k * E_p + floor, per sample and output:

    rmse(program) <= k * E_p + floor,    floor = eps(p) / 2 * rms(oracle of that sample)

The same holds for the border and the interior of each channel of an output that has channels.
Scores of classes must also name the oracle's most likely class wherever the oracle's margin exceeds
4 bounds. At low precision that bound is wide, so there are two gates beside it. The graph before
the cast is held to the fp32 bound; the constants in the file may differ from the folded module's by
one rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from compile.proof.golden import Bounds, Golden
from compile.returned import Returned
from compile.spec import ROWS

_MARGIN_BOUNDS = 4.0


@dataclass(frozen=True, kw_only=True)
class OutputVerdict:
    """The judgement of one output of a program."""

    name: str
    rmse: list[float]
    """Of the whole output, per sample."""
    ratio: float
    """Largest rmse / bound of the whole output and of its parts; at most 1 passes."""
    parts: float | None
    """The same of the parts alone; None if there are none."""
    worst: str
    """The sample and the part that are furthest beyond their bound, or nearest to it."""
    max_abs: float
    """Largest error of one value in the ordinary samples."""
    sqnr_db: float | None
    """Signal to noise ratio of the ordinary samples; None if there is no noise."""
    top1: tuple[int, int] | None
    """Samples whose margin is wide enough that the class must agree, and those of them whose class
    agrees. None for an output that does not hold scores of classes."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judgement of one program's outputs."""

    outputs: tuple[OutputVerdict, ...]
    ratio: float
    """Largest rmse / bound; at most 1 passes."""
    eager_ratio: float
    """Largest rmse / e_eager: how many times as wrong as PyTorch itself."""
    worst: str
    """The sample, and where there are several the output and its part, that is furthest beyond its
    bound, or nearest to it."""
    kinds: dict[str, dict[str, float]]
    """For each kind of sample: how many `samples`, their largest `ratio` and `eager_ratio`."""
    reasons: tuple[str, ...]
    """What is wrong, one sentence each; empty if the program passes."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.reasons

    @property
    def max_abs(self) -> float:
        """The largest of all outputs."""
        return max(output.max_abs for output in self.outputs)

    @property
    def sqnr_db(self) -> float | None:
        """The lowest of all outputs."""
        known = [output.sqnr_db for output in self.outputs if output.sqnr_db is not None]
        return min(known, default=None)

    @property
    def decided(self) -> int:
        """Samples whose class must agree, over all outputs."""
        return sum(output.top1[0] for output in self.outputs if output.top1)

    @property
    def agreed(self) -> int:
        """Those of them whose class agrees."""
        return sum(output.top1[1] for output in self.outputs if output.top1)


def errors(rows: torch.Tensor, golden: Golden) -> torch.Tensor:
    """Root mean square error of each piece: rows (N, width) -> (N, pieces) float64.

    The rows are the answers to all of the golden samples.
    """
    return golden.layout.rms(rows.double() - golden.oracle)


def share(error: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """error / bound, elementwise, of two tensors of one shape. An error of 0 gives 0.

    A bound may be 0 too: a network without biases answers zeros with exactly 0, and so must the
    program.
    """
    return torch.where(error == 0, 0.0, error / bound)


def clear_rows(golden: Golden, bounds: Bounds) -> torch.Tensor:
    """(N, outputs) booleans: where the margin is so wide that the class must agree.

    Outputs that do not hold scores of classes have no such row.
    """
    layout = golden.layout
    clear = torch.zeros(len(golden.oracle), len(layout.outputs), dtype=torch.bool)
    for i, output in enumerate(layout.outputs):
        if output.scores:
            largest = golden.oracle[:, layout.columns[i]].topk(2, dim=1).values
            bound = bounds.bound[:, layout.pieces[i].start]
            clear[:, i] = largest[:, 0] - largest[:, 1] > _MARGIN_BOUNDS * bound
    return clear


def is_clear(golden: Golden, bounds: Bounds) -> bool:
    """Whether each output of class scores has an ordinary sample whose class must agree."""
    scores = torch.tensor([output.scores for output in golden.layout.outputs])
    return bool(clear_rows(golden, bounds)[:ROWS].any(dim=0)[scores].all())


def judge(returned: Returned, golden: Golden, bounds: Bounds) -> Verdict:
    """Hold what a program returned for the golden samples to the rule.

    Raises BadArtifact for outputs of other shapes.
    """
    layout = golden.layout
    checked = layout.check(returned)
    rows = layout.join(checked)
    error = errors(rows, golden)
    ratios, to_eager = share(error, bounds.bound), share(error, bounds.e_eager)
    clear = clear_rows(golden, bounds)
    outputs = tuple(
        _judge_output(i, rows, golden, error, ratios, clear[:, i])
        for i in range(len(layout.outputs))
    )
    row, piece = divmod(int(ratios.argmax()), ratios.shape[1])  # NaN is the largest of all
    worst = ", ".join(filter(None, (golden.kinds[row], layout.where(piece))))
    reasons = []
    if not all(bool(torch.isfinite(each).all()) for each in checked):
        reasons.append("non-finite outputs")
    beyond = ~(error <= bounds.bound)  # True for NaN
    if bool(beyond.any()):
        size = layout.rms(golden.oracle[[row]])[0, layout.owners[piece]]
        reasons.append(
            f"{int(beyond.any(dim=1).sum())} of {len(beyond)} samples beyond their bound, the "
            f"worst ({worst}) {float(ratios.max()):.3g} times: wrong by "
            f"{float(error[row, piece] / size):.1e} of the output, PyTorch by "
            f"{float(bounds.e_eager[row, piece] / size):.1e}"
        )
    others = sum(output.top1[0] - output.top1[1] for output in outputs if output.top1)
    if others:
        reasons.append(f"another class in {others} clear samples")
    if not is_clear(golden, bounds):
        reasons.append("no sample is clear enough to compare classes (are the weights trained?)")
    return Verdict(
        outputs=outputs,
        ratio=float(ratios.max()),
        eager_ratio=float(to_eager.max()),
        worst=worst,
        kinds=_by_kind(golden.kinds, ratios.amax(dim=1), to_eager.amax(dim=1)),
        reasons=tuple(reasons),
    )


def _judge_output(
    number: int,
    rows: torch.Tensor,
    golden: Golden,
    error: torch.Tensor,
    ratios: torch.Tensor,
    clear: torch.Tensor,
) -> OutputVerdict:
    """One output's share of the judgement; `clear` (N,) says where its class must agree."""
    layout, output = golden.layout, golden.layout.outputs[number]
    columns, pieces = layout.columns[number], layout.pieces[number]
    values, oracle, own = rows[:, columns].double(), golden.oracle[:, columns], ratios[:, pieces]
    row, piece = divmod(int(own.argmax()), own.shape[1])
    # Of the ordinary samples: one of a size of 1e4 would drown them.
    differences = values[:ROWS] - oracle[:ROWS]
    noise, signal = float(differences.square().sum()), float(oracle[:ROWS].square().sum())
    agrees = (values.argmax(dim=1) == oracle.argmax(dim=1)) & clear
    return OutputVerdict(
        name=output.name,
        rmse=error[:, pieces.start].tolist(),
        ratio=float(own.max()),
        parts=float(own[:, 1:].max()) if output.groups else None,
        worst=", ".join(filter(None, (golden.kinds[row], layout.where(pieces.start + piece)))),
        max_abs=float(differences.abs().max()),
        sqnr_db=float(10 * torch.tensor(signal / noise).log10()) if noise > 0 else None,
        top1=(int(clear.sum()), int(agrees.sum())) if output.scores else None,
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
