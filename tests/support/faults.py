"""Planted faults: what goes wrong between a module and its artifact, as data.

A fault is planted where it would happen: in the folded module, or between folding and the
backend. Everything that an artifact is held to (oracle, bounds, weights) comes from the sound one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compile.api import compile_module
from compile.artifact import manifest
from compile.backends.base import Backend
from compile.errors import CheckFailed
from compile.network.fold import fold_batch_norms
from compile.network.prepare import cast
from compile.network.quantize import quantize, scheme_here
from compile.precision import precision
from compile.proof import gates, parity
from compile.proof.images import Calibration
from compile.proof.prepared import PreparedModel
from compile.proof.task import Task
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, SmallNet, small_net

Record = Callable[[str, object], None]
"""pytest's record_property."""

IMAGES = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(11))
"""What int8 is calibrated with."""


@torch.no_grad()
def _swap_norms(net: Any) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        first, second = getattr(net.bn1, name), getattr(net.bn2, name)
        kept = first.clone()
        first.copy_(second)
        second.copy_(kept)


@torch.no_grad()
def _round_weights(net: Any) -> None:
    net.conv2.weight.copy_(rounded(net.conv2.weight, bits=10))


@torch.no_grad()
def _swap_channels(net: Any) -> None:
    net.conv1.weight.copy_(net.conv1.weight.flip(1))


def _reflect(net: Any) -> None:
    net.conv2.padding_mode = "reflect"
    net.conv2._reversed_padding_repeated_twice = [1, 1, 1, 1]


class _Training(nn.BatchNorm2d):
    """A norm that goes by the statistics of the batch, whatever mode it is put into."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.batch_norm(
            x, None, None, self.weight, self.bias, training=True, eps=self.eps
        )


class _Shifted(SmallNet):
    """Sees each image one pixel further right, as an off-by-one in a crop leaves it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.pad(x, (1, 0))[..., :-1])


def in_training(net: SmallNet) -> SmallNet:
    """The network, with one batch norm that stays in training mode."""
    net.bn2.__class__ = _Training
    return net


def _set(path: str, value: object) -> Callable[[Any], None]:
    def change(net: Any) -> None:
        holder, _, name = path.rpartition(".")
        setattr(net.get_submodule(holder), name, value)

    return change


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Keep `bits` bits behind the leading one; 10 are what a TF32 convolution keeps."""
    step = 2.0 ** (weight.abs().clamp_min(1e-30).log2().floor() - bits)
    return (weight / step).round() * step


IN_TRAINING = "a layer left in training mode"

FAULTS: dict[str, Callable[[Any], None]] = {
    "two batch norms swapped": _swap_norms,
    "epsilon 1e-3 for 1e-5": _set("bn2.eps", 1e-3),
    "bias dropped": _set("conv3.bias", None),
    "stride moved": _set("conv3.stride", (1, 1)),
    "weights rounded to 10 bits": _round_weights,
    "input shifted by a pixel": lambda net: setattr(net, "__class__", _Shifted),
    "channels swapped": _swap_channels,
    IN_TRAINING: in_training,
    "stale weights": lambda net: net.load_state_dict(small_net(seed=1).state_dict()),
    "padding mode": _reflect,
    "shortcut without its ReLU": lambda net: setattr(net, "relu2", nn.Identity()),
}
"""Fault -> what it does to a SmallNet."""


def faulty(fault: str) -> SmallNet:
    """A SmallNet with the fault in it, in evaluation mode."""
    net = small_net()
    FAULTS[fault](net)
    return net


@cache
def folded(fault: str) -> nn.Module:
    """The faulty network, its batch norms folded but one that is in training mode."""
    if fault != IN_TRAINING:
        return fold_batch_norms(faulty(fault), torch.zeros(1, *SHAPE))
    module = fold_batch_norms(small_net(), torch.zeros(1, *SHAPE))
    for layer in ("conv2", "bn2"):
        module.set_submodule(layer, faulty(fault).get_submodule(layer))
    return module


@cache
def sound() -> PreparedModel:
    """The sound network with images to calibrate with; what it computed is kept."""
    return PreparedModel(small_net(), SHAPE, calibration=Calibration(images=IMAGES, source="noise"))


class Tampered(PreparedModel):
    """A sound network, but what the backend is given is made by `make(spec, maker)`."""

    def __init__(
        self, make: Callable[[CompileSpec, Backend], nn.Module], base: PreparedModel | None = None
    ) -> None:
        base = base or sound()
        self.__dict__.update(vars(base))  # what the base has computed is not computed again
        self._make = make

    def task(self, spec: CompileSpec, maker: Backend) -> Task:
        return replace(super().task(spec, maker), module=self._make(spec, maker))


class WronglyFolded(PreparedModel):
    """The sound network, folded wrongly: what files are compared with is wrong as well."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(small_net(), SHAPE)
        self.network.folded = module


def tampered(fault: str) -> Tampered:
    """A network that goes wrong between folding and the backend."""

    def make(spec: CompileSpec, maker: Backend) -> nn.Module:
        if precision(spec.precision).quantised:
            return quantize(folded(fault), IMAGES, scheme_here(maker.QUANTIZER))
        return cast(folded(fault), spec.precision)

    return Tampered(make)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one attempt to compile."""

    published: bool
    failed: tuple[str, ...]
    """Gates and, of what was run, places that failed; empty when the build itself refused."""
    ratio: float | None
    """Largest rmse / bound of the outputs; None when nothing was run."""
    message: str
    """The error's one line; empty when it was published."""

    @property
    def by(self) -> str:
        """What caught it, in short: `bound`, gates, or `the build`."""
        if self.published:
            return "-"
        return ", ".join(dict.fromkeys(self.failed)) or "the build"

    def row(self, fault: str, backend: str, precision: str) -> dict[str, str | float | None]:
        """The row of results/faults-*.md, of plain values: one process sends it to another."""
        place = {"fault": fault, "backend": backend, "precision": precision}
        return {**place, "by": self.by, "ratio": self.ratio}


BOUND = "bound"
NON_FINITE = "non-finite outputs"
CLASS = "another class"
UNCLEAR = "no clear sample"

REASONS = {
    "non-finite outputs": NON_FINITE,
    "samples beyond their bound": BOUND,
    "another class in": CLASS,
    "no sample is clear enough": UNCLEAR,
}
"""Words in a reason of parity.judge -> the gate that gave it."""


def gate_of(reason: str) -> str:
    """The gate that gave one of the reasons of a Verdict."""
    for words, gate in REASONS.items():
        if words in reason:
            return gate
    raise LookupError(f"no gate is known to say: {reason}")


class Spy:
    """Watches what a build is judged by, and leaves gates out where it is told to."""

    def __init__(self, patch: pytest.MonkeyPatch, without: Sequence[str] = ()) -> None:
        self.without = frozenset(without)
        self.failed: list[str] = []
        self.ratio: float | None = None
        self._failures = gates.failures
        patch.setattr(gates, "failures", self.failures)
        if without:  # what is published then is called proved, and its figures say otherwise
            patch.setattr(manifest, "broken_rule", lambda _: None)

    def failures(self, found: Any, verdicts: dict[str, parity.Verdict]) -> tuple[str, ...]:
        """Stands in for gates.failures."""
        self.ratio = max(verdict.ratio for verdict in verdicts.values())
        kept = {where: self._spared(where, verdict) for where, verdict in verdicts.items()}
        gates_kept = [gate for gate in found if gate["name"] not in self.without]
        self.failed = [gate["name"] for gate in gates_kept if not gate["passed"]]
        for where, verdict in kept.items():
            place = "zoo-run: " if where.startswith("zoo-run") else ""
            self.failed += [place + gate_of(reason) for reason in verdict.reasons]
        return self._failures(gates_kept, kept)

    def _spared(self, where: str, verdict: parity.Verdict) -> parity.Verdict:
        if where.split()[0] in self.without:
            return replace(verdict, reasons=())
        kept = (reason for reason in verdict.reasons if gate_of(reason) not in self.without)
        return replace(verdict, reasons=tuple(kept))


def nothing_in(root: Path) -> bool:
    """Whether there is no file below a folder."""
    return not any(path.is_file() for path in root.rglob("*"))


def attempt(
    prepared: PreparedModel | nn.Module,
    backend: str,
    precision: str,
    root: Path,
    *,
    batch: tuple[int, int] = (1, 1),
    runner: Path | None = None,
    without: Sequence[str] = (),
) -> Outcome:
    """Compile, and say what became of it. What was refused must have left no file.

    `without` names gates that are left out, or `python` or `zoo-run`, whose verdict is.
    """
    spec = CompileSpec(shape=SHAPE, precision=precision, batch=batch)
    with pytest.MonkeyPatch.context() as patch:
        spy = Spy(patch, without)
        message = ""
        try:
            compile_module(prepared, spec, backend=backend, root=root, runner=runner, name="net")
        except CheckFailed as error:
            message = str(error)
    published = not message
    assert nothing_in(root) != published, message
    return Outcome(published=published, failed=tuple(spy.failed), ratio=spy.ratio, message=message)
