"""How wrong a right program may be: the module itself is evaluated in several legal ways.

Each way rounds differently, and none is wrong: see `ways.py`. The bounds of a program follow from
the largest error of these ways. docs/parity.md explains the rule, and says what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from compile.artifact.outputs import Layout
from compile.errors import CheckFailed, first_line
from compile.network.copying import copied, in_type
from compile.network.prepare import eager_dtype
from compile.precision import precision, tensor_float
from compile.proof.golden import Bounds, Golden
from compile.proof.parity import errors
from compile.proof.ways import ORDERS, InOrder, Jittered
from compile.spec import ROWS

_JITTERS = 2
"""Draws of random roundings: each is a way of its own."""


_PARTS = 2.0
"""What widens e_eager of a part of an output; docs/parity.md, "Parts of an output", says why."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One legal way to evaluate a module."""

    name: str
    together: bool = True
    """All samples in one call, or each in a call of its own."""
    layout: torch.memory_format = torch.contiguous_format
    mode: Callable[[], AbstractContextManager[object]] = nullcontext
    """What changes how operators round while the module runs."""


def measure_bounds(
    module: nn.Module,
    name: str,
    golden: Golden,
    *,
    one_by_one: bool = False,
    channels_first: bool = False,
) -> Bounds:
    """Measure how wrong the module is at precision `name`, and return the bounds that follow.

    At a quantised precision `module` is the fake-quantised graph, computing in float32.
    It returns its outputs in rows. `one_by_one` calls it with one sample at a time only, and
    `channels_first` with no other memory layout.

    The error of one sample is a matter of luck. So e_eager is the largest relative error of the
    ordinary samples, scaled to the size of each sample. A hostile sample has its own e_eager if
    that is larger, and loosens no other sample's bound. If PyTorch overflows on a hostile sample,
    its bound is NaN: `finite_rows` leaves it out.

    Each piece has its own e_eager. That of a part of an output is at least that of the whole: a
    channel that happens to be exact, or is zero, may be as wrong as any value of the output. It
    grows with the values of the part where these are larger than in ordinary samples. The
    values of one channel of a constant image are all alike, so its error is a single draw. So a
    hostile sample loosens all parts of an output alike, by what its worst part needs. There are
    thousands of parts, so the largest of as many errors counts: that of each is taken _PARTS times.

    Raises CheckFailed if PyTorch cannot run the module at this precision, or overflows on an
    ordinary sample.
    """
    row = precision(name)
    owners = golden.layout.owners
    size = golden.layout.rms(golden.oracle)[:, owners]
    by_way = way_errors(module, name, golden, one_by_one=one_by_one, channels_first=channels_first)
    wrong = torch.stack(list(by_way.values())).amax(dim=0)  # NaN is the largest of all
    wrong = torch.where(torch.isfinite(wrong), wrong, torch.nan)
    wrong = torch.maximum(wrong, wrong[:, owners])
    ordinary = wrong[:ROWS] / size[:ROWS].clamp_min(1e-300)
    if not bool(torch.isfinite(ordinary).all()):
        raise CheckFailed(
            f"PyTorch itself overflows in {name}: outputs not finite; take another --precision"
        )
    relative = ordinary.amax(dim=0).clamp_min(row.least)
    e_eager = torch.maximum(relative * size, _by_own_size(wrong, golden))
    e_eager[ROWS:] = _loosened(e_eager, wrong, golden.layout)[ROWS:]
    is_part = torch.arange(len(owners)) != owners
    e_eager[:, is_part] *= _PARTS
    floor = row.eps / 2 * size
    if {"denormal", "zeros"} <= set(golden.kinds):  # a program may take subnormal numbers for zero
        tiny, zeros = map(golden.kinds.index, ("denormal", "zeros"))
        floor[tiny] += golden.layout.rms(golden.oracle[[tiny]] - golden.oracle[[zeros]])[0, owners]
    return Bounds(k=row.k, e_eager=e_eager, floor=floor)


def _by_own_size(wrong: torch.Tensor, golden: Golden) -> torch.Tensor:
    """The largest ordinary error of each piece, scaled to the piece's own size: (N, pieces)."""
    own = golden.layout.rms(golden.oracle)
    largest = own[:ROWS].amax(dim=0)
    return torch.where(largest > 0, wrong[:ROWS].amax(dim=0) / largest, 0.0) * own


def _loosened(e_eager: torch.Tensor, wrong: torch.Tensor, layout: Layout) -> torch.Tensor:
    """e_eager (N, pieces), larger where `wrong` is larger in any piece of the same output."""
    factors = torch.where(e_eager > 0, wrong / e_eager, 1.0)
    loosened = e_eager.clone()
    for pieces in layout.pieces:
        loosened[:, pieces] *= factors[:, pieces].amax(dim=1, keepdim=True).clamp_min(1.0)
    return torch.maximum(loosened, wrong)


def finite_rows(golden: Golden, bounds: Bounds, name: str) -> tuple[Golden, Bounds]:
    """Leave out hostile samples on which PyTorch overflows at precision `name`."""
    kept = torch.isfinite(bounds.bound).all(dim=1)
    reason = f"PyTorch itself overflows on it in {name}"
    return golden.without(kept, reason), bounds.take(kept)


def way_errors(
    module: nn.Module,
    name: str,
    golden: Golden,
    *,
    one_by_one: bool = False,
    channels_first: bool = False,
) -> dict[str, torch.Tensor]:
    """Root mean square errors (N, pieces) of each way that runs, by name; NaN for an overflow.

    A module may refuse some of the ways; CheckFailed is raised if it refuses all.
    """
    found: dict[str, torch.Tensor] = {}
    refused: Exception = RuntimeError("")
    for ways in _tries(name, one_by_one):
        for way in ways:
            if channels_first and way.layout == torch.channels_last:
                continue
            try:
                found[way.name] = errors(_evaluate(module, name, golden, way), golden)
            except Exception as error:  # whatever a module's own code raises
                refused = error
        if found:
            return found
    reason = f"PyTorch itself cannot run the module in {name}: {first_line(refused)}"
    remedy = "take another --precision"
    if precision(name).lowered:
        remedy = f"take the type from the input (x.to(y.dtype), not x.float()), or {remedy}"
    raise CheckFailed(f"{reason}; {remedy}") from refused


def _tries(name: str, one_by_one: bool) -> list[list[Way]]:
    """The ways, and other ways for a module that refuses all of the first.

    Most CPUs have no kernels for float16, and a call takes seconds. So all samples go together
    there, and alone only if the module refuses that.
    """
    half = eager_dtype(name) == torch.float16
    if one_by_one:
        return [_ways(name, together=[False])]
    if half:
        return [_ways(name, together=[True]), _ways(name, together=[False])]
    return [_ways(name, together=[False, True])]


def _ways(name: str, together: list[bool]) -> list[Way]:
    ways = [
        Way(name=f"{_LAYOUTS[layout]}, {_COUNTS[each]}", layout=layout, together=each)
        for layout in _LAYOUTS
        for each in together
    ]
    if precision(name).tf32:  # on a GPU
        return ways
    eps = torch.finfo(eager_dtype(name)).eps
    for each in together[-1:]:
        for order in ORDERS:
            mode = partial(InOrder, order)
            ways.append(Way(name=f"{order}, {_COUNTS[each]}", together=each, mode=mode))
        for seed in range(_JITTERS):
            jitter = partial(Jittered, seed, eps)
            ways.append(Way(name=f"jitter {seed}, {_COUNTS[each]}", together=each, mode=jitter))
    return ways


_LAYOUTS = {torch.contiguous_format: "NCHW", torch.channels_last: "NHWC"}
_COUNTS = {False: "one by one", True: "together"}


@torch.no_grad()
def _evaluate(module: nn.Module, name: str, golden: Golden, way: Way) -> torch.Tensor:
    """The module's outputs for the samples, computed in one way: (N, width)."""
    dtype, tf32 = eager_dtype(name), precision(name).tf32
    device = "cuda" if tf32 else "cpu"
    eager = in_type(copied(module).to(device).eval(), dtype)
    eager.to(memory_format=way.layout)  # type: ignore[call-overload]
    size = len(golden.pixels) if way.together else 1
    chunks = torch.split(golden.pixels.to(device, dtype), size)
    with tensor_float(tf32), way.mode():
        return torch.cat([eager(x.clone(memory_format=way.layout)) for x in chunks]).cpu()
