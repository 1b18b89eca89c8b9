"""Which of several artifacts to keep: the fastest by a comparison of zoo-run's.

Functions over figures: nothing is measured here. zoo.api.fastest does what they need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compile.artifact.manifest import GOLDEN, Manifest
from compile.errors import CheckFailed
from compile.measure.stats import median_interval, percentile
from compile.precision import precision as find_precision

NOISE_GATE = "quantisation noise"
"""The gate whose value says what a grid adds to the error."""

_AS_EXACT = 2.0
"""Errors that differ by less than this factor are not told apart: a bound is at least as wide."""

_ABSURD_DB = 600
"""No float64 has such a ratio of signal to noise."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The time of one program over that of another: the median of the rounds."""

    value: float
    interval: tuple[float, float]
    """95 %."""

    @property
    def verdict(self) -> str:
        """In the words of zoo-run."""
        low, high = self.interval
        return "faster" if high < 1 else "slower" if low > 1 else "no difference shown"

    def as_json(self) -> dict[str, Any]:
        """As a report of zoo-run has it."""
        return {"value": self.value, "interval": list(self.interval), "verdict": self.verdict}

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.interval[0]:.3f} to {self.interval[1]:.3f})"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An artifact that was compared with others."""

    artifact: str
    """The name of its folder."""
    backend: str
    precision: str
    median_ms: float
    """Of one call."""
    interval_ms: tuple[float, float] | None
    """The median's 95 % interval."""
    rounds_ms: tuple[float, ...]
    """The median of each round."""
    error: float | None
    """Against the network in float64, as a share of the outputs' size; None if not recorded."""
    accuracy: Mapping[str, Any] | None
    """`before` and `after` in per cent, `images`, `lost`, `won`; None if it was not counted."""
    num_bytes: int
    """Of its files, without the golden samples."""
    flaws: tuple[str, ...] = ()
    """Why it must not be taken."""

    @property
    def loss(self) -> float | None:
        """Percentage points of accuracy that it loses."""
        return self.accuracy["before"] - self.accuracy["after"] if self.accuracy else None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen, and why."""

    best: Candidate
    reason: str
    """Follows the artifact's name."""


def ratio_of(rounds_ms: Sequence[float], reference_ms: Sequence[float]) -> Ratio:
    """The ratio that zoo-run gives for the same rounds, of which there are six or more."""
    pairs = zip(rounds_ms, reference_ms, strict=True)
    ratios = sorted(rounds / max(other, 1e-6) for rounds, other in pairs)
    interval = median_interval(ratios)
    assert interval is not None, "zoo-run takes six rounds or more"
    return Ratio(value=percentile(ratios, 50), interval=interval)


def candidates(
    report: Mapping[str, Any],
    manifests: Sequence[Manifest],
    accuracies: Sequence[Mapping[str, Any] | str | None],
    max_loss: float | None,
) -> list[Candidate]:
    """The programs of a comparison, with what their manifests say of them.

    `accuracies` has for each what was counted, why it cannot be counted, or None if its precision
    loses nothing. More than `max_loss` percentage points are a flaw, and so is an unknown loss;
    None allows any.
    """
    found = []
    for program, manifest, counted in zip(report["programs"], manifests, accuracies, strict=True):
        interval = program["latency_ms"]["median_interval"]
        accuracy = None if isinstance(counted, str) else counted
        flaws = [] if program["verdict"] == "VALID" else list(program["reasons"])
        if max_loss is not None and counted is not None:
            flaws += _loss_flaws(counted, max_loss)
        found.append(
            Candidate(
                artifact=Path(program["artifact"]).name,
                backend=manifest["backend"],
                precision=manifest["precision"],
                median_ms=program["latency_ms"]["median"],
                interval_ms=None if interval is None else (interval[0], interval[1]),
                rounds_ms=tuple(program["rounds_ms"]),
                error=error_of(manifest),
                accuracy=accuracy,
                num_bytes=_size(manifest),
                flaws=tuple(flaws),
            )
        )
    return found


def choose(given: Sequence[Candidate]) -> Choice:
    """The fastest without a flaw. If no difference in speed to others is shown, the most exact of
    these; of those that are as exact, the smallest.

    Raises CheckFailed if each has a flaw.
    """
    able = sorted((each for each in given if not each.flaws), key=lambda each: each.median_ms)
    if not able:
        said = "; ".join(f"{each.artifact}: {', '.join(each.flaws)}" for each in given)
        raise CheckFailed(f"none of the candidates can be taken: {said}")
    fastest, *others = able
    level = [fastest, *(each for each in others if _is_level(each, fastest))]
    least = min(_error(each) for each in level)
    exact = [each for each in level if _error(each) <= _AS_EXACT * least]
    best = min(exact, key=lambda each: (each.num_bytes, each.median_ms))
    return Choice(best=best, reason=_reason(best, able, level, exact))


def _reason(
    best: Candidate, able: list[Candidate], level: list[Candidate], exact: list[Candidate]
) -> str:
    others = [each for each in level if each is not best]
    if len(able) == 1:
        return "the only one that can be taken"
    if not others:
        second = able[1]
        ratio = ratio_of(second.rounds_ms, best.rounds_ms)
        return f"the fastest; {second.artifact} takes {ratio} times as long"
    names = " and ".join(each.artifact for each in others)
    why = "the most exact" if len(exact) == 1 else "the smallest of those that are as exact"
    return f"no difference in speed to {names} is shown, and it is {why}"


def evidence(
    choice: Choice, given: Sequence[Candidate], report: Mapping[str, Any], **asked: Any
) -> dict[str, Any]:
    """What the manifest of the chosen artifact says; docs/artifact.md has the fields.

    `asked` are `goal`, `max_accuracy_loss` and `left_out`.
    """
    first = report["programs"][0]
    return {
        "kind": "fastest",
        "chosen": choice.best.artifact,
        "reason": choice.reason,
        **asked,
        "batch": first["batch"],
        "rounds": report["rounds"],
        "seconds": report["seconds"],
        "seed": report["seed"],
        "conditions": first["conditions"],
        "candidates": [_entry(each, choice.best) for each in given],
    }


def _entry(each: Candidate, best: Candidate) -> dict[str, Any]:
    return {
        "artifact": each.artifact,
        "backend": each.backend,
        "precision": each.precision,
        "median_ms": each.median_ms,
        "median_interval_ms": each.interval_ms and list(each.interval_ms),
        "ratio": None if each is best else ratio_of(each.rounds_ms, best.rounds_ms).as_json(),
        "error": each.error,
        "accuracy": each.accuracy and dict(each.accuracy),
        "bytes": each.num_bytes,
        "flaws": list(each.flaws),
    }


def error_of(manifest: Manifest) -> float | None:
    """The error that an artifact proved itself with; see `relative_error`."""
    parity = manifest["parity"]
    levels = [each["sqnr_db"] for each in parity["outputs"] if each["sqnr_db"] is not None]
    noise = [
        gate["value"]
        for gate in parity["gates"]
        if gate["name"] == NOISE_GATE and gate["value"] is not None
    ]
    quantised = find_precision(manifest["precision"]).quantised
    return relative_error(levels, noise, quantised=quantised)


def relative_error(
    levels_db: Sequence[float], noise: Sequence[float], *, quantised: bool
) -> float | None:
    """The error against the network in float64, as a share of the outputs' size: the largest.

    `levels_db` are the ratios of signal to noise against the oracle. The oracle of a quantised
    precision is the quantised graph, so `noise`, what quantisation adds, counts too. None if
    either is not recorded.
    """
    known = [10 ** (-level / 20) for level in levels_db if abs(level) < _ABSURD_DB]
    if not known:
        return None
    if not quantised:
        return max(known)
    return math.hypot(max(known), max(noise)) if noise else None


def _loss_flaws(counted: Mapping[str, Any] | str, max_loss: float) -> list[str]:
    if isinstance(counted, str):
        return [f"what it loses in accuracy is not known: {counted}"]
    loss = counted["before"] - counted["after"]
    if loss <= max_loss:
        return []
    return [f"it loses {loss:.2f} points of accuracy, {max_loss:g} are allowed"]


def _is_level(one: Candidate, fastest: Candidate) -> bool:
    low, high = ratio_of(one.rounds_ms, fastest.rounds_ms).interval
    return low <= 1 <= high


def _error(each: Candidate) -> float:
    return math.inf if each.error is None else each.error


def _size(manifest: Manifest) -> int:
    return sum(entry["size"] for name, entry in manifest["files"].items() if name != GOLDEN)
