"""Statistics of latency samples: percentiles and speed ratios, with intervals. Omits unsupported percentiles."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom, bootstrap
from scipy.stats import t as student

from bench.results.measurements import Percentile, Ratio, Summary

MARGIN = 0.02  # a smaller relative difference in speed has no practical relevance
MIN_SAMPLES = {90: 29, 95: 59, 99: 299}  # by percentile; enough that, with 95 % probability, a sample exceeds it


SampleTimes = Sequence[Sequence[Sequence[float]]]  # seconds, by process, visit and call


def summarise(seconds: SampleTimes) -> Summary:
    """Summary of all calls, over all processes and visits."""
    milliseconds = np.sort(all_calls(seconds) * 1e3)
    median = float(np.median(milliseconds))
    supported = {
        q: _percentile(milliseconds, q) for q, min_samples in MIN_SAMPLES.items() if len(milliseconds) >= min_samples
    }
    values = {f"p{q}_ms": supported[q].value if q in supported else None for q in MIN_SAMPLES}
    return Summary(
        n=len(milliseconds),
        min_ms=float(milliseconds[0]),
        median_ms=median,
        mad_ms=float(np.median(np.abs(milliseconds - median))),
        **values,
        intervals={f"p{q}": percentile for q, percentile in {50: _percentile(milliseconds, 50), **supported}.items()},
    )


def _percentile(ordered: np.ndarray, q: int) -> Percentile:
    """A percentile with its interval from order statistics, whose ranks have a binomial distribution."""
    low, high = binom.ppf([0.025, 0.975], len(ordered), q / 100).astype(int)
    return Percentile(
        value=float(np.percentile(ordered, q)),
        low=float(ordered[max(0, low - 1)]),
        high=float(ordered[min(len(ordered) - 1, high)]),
    )


def all_calls(seconds: SampleTimes) -> np.ndarray:
    """The seconds of all calls as one array (calls,)."""
    return np.concatenate([np.asarray(calls) for visits in seconds for calls in visits])


def throughput(count: int, seconds: Sequence[float]) -> float:
    """Items per second, from the median time to process `count` items at once."""
    return count / float(np.median(seconds))


def speed_ratio(baseline: SampleTimes, other: SampleTimes, *, seed: int = 0) -> Ratio:
    """Time of the baseline divided by time of the other, paired by visit, with an interval over processes.

    The two visits of a pair use the same inputs at almost the same time. A slowdown of the machine therefore cancels
    out in the ratio of their medians. The value is the geometric mean over pairs, so that ratios multiply.

    The speed of a process differs by 1 % to 2 % for its whole life, mainly because of its memory layout. The interval
    is therefore Student's t over the means of the pairs of processes, the highest level of variation (Kalibera and
    Jones, "Rigorous benchmarking in reasonable time", 2013). With one process each, it is a bootstrap over visits and
    does not include this variation.
    """
    log_ratios = [
        np.log([np.median(a) / np.median(b) for a, b in zip(*visits, strict=True)])
        for visits in zip(baseline, other, strict=True)
    ]
    means = np.array([each.mean() for each in log_ratios]) if len(log_ratios) > 1 else log_ratios[0]
    centre = float(means.mean())
    if len(means) < 2 or np.ptp(means) == 0:
        low = high = centre
    elif len(log_ratios) > 1:
        half_width = float(student.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
        low, high = centre - half_width, centre + half_width
    else:
        resampled = bootstrap((means,), np.mean, confidence_level=0.95, method="BCa", rng=np.random.default_rng(seed))
        low, high = resampled.confidence_interval
    return Ratio(value=float(np.exp(centre)), low=float(np.exp(low)), high=float(np.exp(high)))


def verdict(ratio: Ratio) -> str:
    """A ratio in words. A value within the margin is no practical difference, even if it is significant."""
    if 1 / (1 + MARGIN) <= ratio.value <= 1 + MARGIN:
        return "no practical difference"
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "not significant"
