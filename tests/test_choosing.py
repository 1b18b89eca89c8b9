"""Which of several measured artifacts is the one to keep: figures in, a choice out."""

from __future__ import annotations

import random
from typing import Any

import pytest

from compile.errors import CheckFailed, UsageError
from compile.measure.fastest import (
    Candidate,
    candidates,
    choose,
    error_of,
    evidence,
    ratio_of,
    relative_error,
)
from tests.support.manifests import base
from zoo.api.fastest import Wish

NOISE = (0.99, 1.0, 1.01, 0.995, 1.005, 1.0, 0.99, 1.01, 1.0, 1.0, 1.002)


def candidate(artifact: str, ms: float, seed: int = 0, **changes: Any) -> Candidate:
    """One whose rounds differ by a per cent, in an order of its own."""
    rounds = [ms * each for each in NOISE]
    random.Random(seed).shuffle(rounds)
    given: dict[str, Any] = {"error": 1e-6, "accuracy": None, "num_bytes": 100} | changes
    return Candidate(
        artifact=artifact,
        backend=artifact.partition("-")[0],
        precision="fp32",
        median_ms=ms,
        interval_ms=(0.99 * ms, 1.01 * ms),
        rounds_ms=tuple(rounds),
        **given,
    )


def test_the_fastest_is_taken_whatever_its_error_and_size() -> None:
    fast = candidate("a", 1.0, error=1e-2, num_bytes=999)
    for order in ([fast, candidate("b", 2.0, seed=1)], [candidate("b", 2.0, seed=1), fast]):
        choice = choose(order)
        assert choice.best is fast
        assert choice.reason.startswith("the fastest; b takes 2.0")
        assert choice.reason.endswith(" times as long")


def test_where_no_difference_is_shown_the_more_exact_one_is_taken_then_the_smaller() -> None:
    rough, exact = candidate("a", 1.0, error=1e-2), candidate("b", 1.001, seed=1, error=1e-6)
    choice = choose([rough, exact])
    assert choice.best is exact
    assert choice.reason == "no difference in speed to a is shown, and it is the most exact"
    large = candidate("c", 1.0, seed=2, error=0.7e-6, num_bytes=200)  # hardly more exact than b
    choice = choose([rough, large, exact])
    assert choice.best is exact
    assert choice.reason == (
        "no difference in speed to a and c is shown, and it is the smallest of those "
        "that are as exact"
    )
    unknown = candidate("d", 1.0, seed=3, error=None, num_bytes=1)
    assert choose([unknown, exact]).best is exact


def test_one_with_a_flaw_is_never_taken() -> None:
    flawed = candidate("a", 0.1, flaws=("its output changed between two calls",))
    choice = choose([flawed, candidate("b", 9.0)])
    assert (choice.best.artifact, choice.reason) == ("b", "the only one that can be taken")
    with pytest.raises(CheckFailed, match="none of the candidates can be taken: a: its output"):
        choose([flawed])


def test_ratios_are_those_of_the_rounds() -> None:
    ratio = ratio_of([2.0 * each for each in NOISE], NOISE)
    assert (ratio.value, ratio.interval, ratio.verdict) == (2.0, (2.0, 2.0), "slower")
    assert ratio_of(NOISE, [3.0] * 11).verdict == "faster"
    assert ratio_of(NOISE, [1.0] * 11).verdict == "no difference shown"


def test_errors_of_a_grid_hold_what_the_grid_adds() -> None:
    assert relative_error([40.0, 60.0], [], quantised=False) == pytest.approx(0.01)
    assert relative_error([40.0], [0.1, 0.2], quantised=True) == pytest.approx(0.2, rel=0.01)
    assert relative_error([40.0], [], quantised=True) is None
    assert relative_error([], [0.1], quantised=False) is None
    assert error_of(base()) == pytest.approx(10**-6.5)


def report(*entries: dict[str, Any]) -> dict[str, Any]:
    """As zoo-run prints it."""
    usual = {
        "batch": 8,
        "latency_ms": {"median": 1.0, "median_interval": [0.9, 1.1], "n": 40},
        "rounds_ms": [1.0] * 11,
        "verdict": "VALID",
        "reasons": [],
        "conditions": {"cpu": "a CPU"},
    }
    named = [{**usual, "artifact": f"artifacts/net/{n}", **each} for n, each in enumerate(entries)]
    return {"rounds": 11, "seconds": 6.0, "seed": 0, "programs": named}


LOST = {"before": 90.0, "after": 89.2, "images": 1000, "lost": 9, "won": 1, "mcnemar_p": 0.02}


@pytest.mark.parametrize(
    ("counted", "limit", "flaw"),
    [
        (LOST, None, None),
        (LOST, 0.81, None),
        (LOST, 0.5, "it loses 0.80 points of accuracy, 0.5 are allowed"),
        (LOST, 0.0, "it loses 0.80 points of accuracy, 0 are allowed"),
        ("no images", 1.0, "what it loses in accuracy is not known: no images"),
        ("no images", None, None),
        (None, 0.0, None),
    ],
)
def test_what_costs_too_much_accuracy_has_a_flaw(
    counted: Any, limit: float | None, flaw: str | None
) -> None:
    (found,) = candidates(report({}), [base()], [counted], limit)
    assert found.flaws == (() if flaw is None else (flaw,))
    assert found.loss == (pytest.approx(0.8) if counted is LOST else None)


def test_an_invalid_measurement_is_a_flaw() -> None:
    broken = {"verdict": "INVALID", "reasons": ["repacks 7 weights on every call"]}
    (found,) = candidates(report(broken), [base()], [None], None)
    assert found.flaws == ("repacks 7 weights on every call",)


def test_the_evidence_names_every_candidate() -> None:
    slow = {"rounds_ms": [2.0] * 11, "latency_ms": {"median": 2.0, "median_interval": None}}
    measured = report({}, slow)
    found = candidates(measured, [base(), base()], [None, LOST], 1.0)
    said = evidence(choose(found), found, measured, goal="latency", left_out=[])
    assert (said["kind"], said["chosen"], said["batch"]) == ("fastest", "0", 8)
    first, second = said["candidates"]
    assert first["ratio"] is None and second["median_interval_ms"] is None
    assert second["ratio"] == {"value": 2.0, "interval": [2.0, 2.0], "verdict": "slower"}
    assert second["accuracy"] == LOST and first["accuracy"] is None


def test_a_wish_names_the_batch_that_is_compared() -> None:
    assert Wish(batch=(1, 64)).rows == 1
    assert Wish(batch=(1, 64), goal="throughput").rows == 64
    with pytest.raises(UsageError, match="unknown goal 'speed'; choose one of: latency, through"):
        Wish(goal="speed")
