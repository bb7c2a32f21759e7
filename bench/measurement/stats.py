"""What the samples say: percentiles, and ratios with intervals; nothing that the samples cannot support."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom, bootstrap
from scipy.stats import t as student

from bench.results.measurements import Percentile, Ratio, Summary

MARGIN = 0.02  # a difference in speed that nobody would notice
FEWEST = {90: 29, 95: 59, 99: 299}  # samples in which a slower one than the percentile is seen, with 95 % probability


Processes = Sequence[Sequence[Sequence[float]]]  # of visits, of calls: seconds


def summarise(seconds: Processes) -> Summary:
    """All calls together."""
    flat = np.sort(flattened(seconds) * 1e3)
    median = float(np.median(flat))
    supported = {q: _percentile(flat, q) for q, fewest in FEWEST.items() if len(flat) >= fewest}
    values = {f"p{q}_ms": supported[q].value if q in supported else None for q in FEWEST}
    return Summary(
        n=len(flat),
        min_ms=float(flat[0]),
        median_ms=median,
        mad_ms=float(np.median(np.abs(flat - median))),
        **values,
        intervals={f"p{q}": percentile for q, percentile in {50: _percentile(flat, 50), **supported}.items()},
    )


def _percentile(ordered: np.ndarray, q: int) -> Percentile:
    """The calls between which the true percentile lies: their ranks are binomial."""
    low, high = binom.ppf([0.025, 0.975], len(ordered), q / 100).astype(int)
    return Percentile(
        value=float(np.percentile(ordered, q)),
        low=float(ordered[max(0, low - 1)]),
        high=float(ordered[min(len(ordered) - 1, high)]),
    )


def flattened(seconds: Processes) -> np.ndarray:
    """All calls."""
    return np.concatenate([np.asarray(calls) for visits in seconds for calls in visits])


def rate(count: int, seconds: Sequence[float]) -> float:
    """So many a second: of `count` at once, by the median of how long they took."""
    return count / float(np.median(seconds))


def speed_ratio(baseline: Processes, other: Processes, *, seed: int = 0) -> Ratio:
    """Baseline time over the other's, paired by visit; its interval by process.

    Both were timed on the same inputs, one shortly after the other, so each pair of visits gives a ratio of medians:
    what slows both cancels. The figure is their geometric mean, so that ratios multiply. But a process keeps for its
    life what it drew at its start (where its memory lies, above all), and is a percent or two faster or slower than
    another of the same model: so the interval is Student's over the means of the pairs of processes (Kalibera and
    Jones, "Rigorous benchmarking in reasonable time", 2013, take the highest level that varies). With one process
    each, it is a bootstrap over the visits, which leaves that out.
    """
    logs = [
        np.log([np.median(a) / np.median(b) for a, b in zip(*visits, strict=True)])
        for visits in zip(baseline, other, strict=True)
    ]
    means = np.array([each.mean() for each in logs]) if len(logs) > 1 else logs[0]
    middle = float(means.mean())
    if len(means) < 2 or np.ptp(means) == 0:
        low = high = middle
    elif len(logs) > 1:
        half = float(student.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
        low, high = middle - half, middle + half
    else:
        resampled = bootstrap((means,), np.mean, confidence_level=0.95, method="BCa", rng=np.random.default_rng(seed))
        low, high = resampled.confidence_interval
    return Ratio(value=float(np.exp(middle)), low=float(np.exp(low)), high=float(np.exp(high)))


def verdict(ratio: Ratio) -> str:
    """A ratio in words: within the margin there is no practical difference, significant or not."""
    if 1 / (1 + MARGIN) <= ratio.value <= 1 + MARGIN:
        return "no practical difference"
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "not significant"
