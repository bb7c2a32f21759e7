"""What the samples say: percentiles, and ratios with bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Latencies of `n` calls, in milliseconds."""

    n: int
    median_ms: float
    p90_ms: float
    p95_ms: float


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast as the baseline, with its 95 % interval."""

    value: float
    low: float
    high: float


def summarise(seconds: Sequence[Sequence[float]]) -> Summary:
    """All rounds together. `seconds`: rounds of calls."""
    flat = np.concatenate([np.asarray(calls) for calls in seconds]) * 1e3
    median, p90, p95 = np.percentile(flat, [50, 90, 95])
    return Summary(n=len(flat), median_ms=float(median), p90_ms=float(p90), p95_ms=float(p95))


def speed_ratio(baseline: Sequence[Sequence[float]], other: Sequence[Sequence[float]], *, seed: int = 0) -> Ratio:
    """Baseline time over the other's, paired by round.

    Both were timed on the same inputs in the same rounds, so each round gives a ratio of medians; the figure is their
    geometric mean, and the interval a bootstrap over the rounds: whatever slows a whole round cancels out.
    """
    logs = np.log([np.median(a) / np.median(b) for a, b in zip(baseline, other, strict=True)])
    value = float(np.exp(logs.mean()))
    if len(logs) < 2 or np.ptp(logs) == 0:
        return Ratio(value=value, low=value, high=value)
    found = bootstrap((logs,), np.mean, confidence_level=0.95, method="percentile", rng=np.random.default_rng(seed))
    return Ratio(
        value=value,
        low=float(np.exp(found.confidence_interval.low)),
        high=float(np.exp(found.confidence_interval.high)),
    )
