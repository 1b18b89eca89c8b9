"""Statistics of latencies, over raw nanosecond samples.

The functions are pure. They have a twin in runtime_cpp/src/measure/stats.cpp, and a test
compares the two on the same samples; their percentiles are nearest-rank: the smallest sample with
at least p % at or below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any, TypeVar

BEYOND = 10
"""A percentile is given only when this many samples lie beyond it."""
CLOCK_LIMIT = 0.01
INTERVAL_LIMIT = 0.05
DRIFT_LIMIT = 0.05
_Z95 = 1.959964

Value = TypeVar("Value", int, float)


def percentile(samples: Sequence[Value], p: float) -> Value:
    """Nearest-rank percentile; `samples` sorted, not empty, 0 < p <= 100."""
    rank = -(-len(samples) * round(1000 * p) // 100_000)
    return samples[max(1, rank) - 1]


def supported(n: int, p: float) -> bool:
    """Whether n samples are enough to speak of the p-th percentile."""
    thousandths = round(1000 * p)  # whole numbers, as the runner counts
    return n * (100_000 - thousandths) >= 100_000 * BEYOND


def median_interval(samples: Sequence[Value]) -> tuple[Value, Value] | None:
    """95 % interval of the median by order statistics; `samples` sorted. None below six samples.

    Exact (binomial) up to 1,000 samples, by the normal approximation above.
    """
    n = len(samples)
    if n > 1000:
        low = max(1, math.floor((n - _Z95 * math.sqrt(n)) / 2))
        return samples[low - 1], samples[n - low]
    low, term, total = 0, 0.5**n, 0.0
    for rank in range(1, n + 1):
        total += term  # P(Bin(n, 1/2) <= rank - 1)
        if total > 0.025:
            break
        low = rank
        term *= (n - rank + 1) / rank
    return (samples[low - 1], samples[n - low]) if low >= 1 else None


def drift(samples: Sequence[int]) -> float | None:
    """Median of the second half over that of the first, less one; in the order of time."""
    half = len(samples) // 2
    if half == 0:
        return None
    first, second = sorted(samples[:half]), sorted(samples[-half:])
    return percentile(second, 50) / percentile(first, 50) - 1


def summary(samples: Sequence[int], percentiles: Sequence[float] = (90, 99)) -> dict[str, Any]:
    """Return the `latency_ms` object of a report; `samples` in nanoseconds, in order of time."""
    ordered = sorted(samples)
    n = len(ordered)
    interval = median_interval(ordered)
    mean = fmean(ordered)
    return {
        "median": percentile(ordered, 50) / 1e6,
        "median_interval": [end / 1e6 for end in interval] if interval else None,
        **{
            f"p{p:g}": percentile(ordered, p) / 1e6 if supported(n, p) else None
            for p in percentiles
            if p != 50
        },
        "min": ordered[0] / 1e6,
        "max": ordered[-1] / 1e6,
        "mean": mean / 1e6,
        "cov": stdev(ordered, mean) / mean if n > 1 else None,
        "n": n,
    }


def doubts(samples: Sequence[int], clock_skew: float) -> list[str]:
    """Return the reasons why a run is INVALID; none means VALID.

    `clock_skew` is the elapsed time by the steady clock over that by the system clock, less one.
    """
    reasons = []
    ordered = sorted(samples)
    if abs(clock_skew) > CLOCK_LIMIT:
        reasons.append(f"the clocks differ by {100 * clock_skew:+.1f} %")
    interval, median = median_interval(ordered), percentile(ordered, 50)
    if interval is None:
        reasons.append(f"{len(samples)} samples are too few for an interval of the median")
    elif max(median - interval[0], interval[1] - median) > INTERVAL_LIMIT * median:
        reasons.append("the median's interval is wider than +-5 %")
    change = drift(samples)
    if change is not None and abs(change) > DRIFT_LIMIT:
        reasons.append(f"the second half differs from the first by {100 * change:+.1f} %")
    return reasons
