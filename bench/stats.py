"""What the samples say: percentiles, and ratios with intervals; nothing that the samples cannot support."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom, bootstrap

MARGIN = 0.02  # a difference in speed that nobody would notice
FEWEST = {90: 29, 95: 59, 99: 299}  # samples in which a slower one than the percentile is seen, with 95 % probability


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """Milliseconds, with the 95 % interval of order statistics (it needs no assumption on how latencies are spread)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Latencies of `n` calls, in milliseconds. Percentiles that so few calls do not show are None.

    `mad_ms`: median absolute deviation from the median.
    """

    n: int
    min_ms: float
    median_ms: float
    mad_ms: float
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    intervals: dict[str, Percentile]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast as the baseline, with its 95 % interval."""

    value: float
    low: float
    high: float


def summarise(seconds: Sequence[Sequence[float]]) -> Summary:
    """All visits together. `seconds`: visits of calls."""
    flat = np.sort(np.concatenate([np.asarray(calls) for calls in seconds]) * 1e3)
    median = float(np.median(flat))
    shown = {q: _percentile(flat, q) for q, fewest in FEWEST.items() if len(flat) >= fewest}
    values = {f"p{q}_ms": shown[q].value if q in shown else None for q in FEWEST}
    return Summary(
        n=len(flat),
        min_ms=float(flat[0]),
        median_ms=median,
        mad_ms=float(np.median(np.abs(flat - median))),
        **values,
        intervals={f"p{q}": found for q, found in {50: _percentile(flat, 50), **shown}.items()},
    )


def _percentile(ordered: np.ndarray, q: int) -> Percentile:
    """The calls between which the true percentile lies: their ranks are binomial."""
    low, high = binom.ppf([0.025, 0.975], len(ordered), q / 100).astype(int)
    return Percentile(
        value=float(np.percentile(ordered, q)),
        low=float(ordered[max(0, low - 1)]),
        high=float(ordered[min(len(ordered) - 1, high)]),
    )


def speed_ratio(baseline: Sequence[Sequence[float]], other: Sequence[Sequence[float]], *, seed: int = 0) -> Ratio:
    """Baseline time over the other's, paired by visit.

    Both were timed on the same inputs, one shortly after the other, so each pair of visits gives a ratio of medians;
    the figure is their geometric mean (so that ratios multiply), the interval a bootstrap over the pairs: what slows
    both cancels.
    """
    logs = np.log([np.median(a) / np.median(b) for a, b in zip(baseline, other, strict=True)])
    value = float(np.exp(logs.mean()))
    if len(logs) < 2 or np.ptp(logs) == 0:
        return Ratio(value=value, low=value, high=value)
    found = bootstrap((logs,), np.mean, confidence_level=0.95, method="BCa", rng=np.random.default_rng(seed))
    return Ratio(
        value=value,
        low=float(np.exp(found.confidence_interval.low)),
        high=float(np.exp(found.confidence_interval.high)),
    )


def verdict(ratio: dict[str, Any]) -> str:
    """A ratio in words: within the margin there is no practical difference, significant or not."""
    if 1 / (1 + MARGIN) <= ratio["value"] <= 1 + MARGIN:
        return "no practical difference"
    if ratio["low"] > 1:
        return "faster"
    return "slower" if ratio["high"] < 1 else "not significant"
