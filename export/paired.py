"""Two models' answers to the same rows: how far their metrics are apart, and whether that may be chance."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from compress import metrics

RESAMPLES = 1000
SCORED_RESAMPLES = 200  # of metrics that are no mean over rows


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Our metric less theirs, with its 95 % interval (bootstrap over rows).

    `p_value`: exact McNemar test that both are right equally often; None for metrics other than accuracy.
    """

    difference: float
    low: float
    high: float
    p_value: float | None


def paired_difference(
    metric: metrics.Metric, labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, *, num_classes: int, seed: int = 0
) -> Paired:
    """Compare answers (rows,) to labels (rows,), row by row. `num_classes` as in `metrics.score`."""
    rows, draw = len(labels), np.random.default_rng(seed)
    p_value = None
    if metric == "accuracy":
        better = (ours == labels).astype(int) - (theirs == labels).astype(int)
        wins, losses = int((better > 0).sum()), int((better < 0).sum())
        difference = (wins - losses) / rows
        shares = np.array([wins, losses, rows - wins - losses]) / rows
        found = draw.multinomial(rows, shares, size=RESAMPLES) @ np.array([1, -1, 0]) / rows
        p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    else:
        difference = _difference(metric, labels, ours, theirs, num_classes)
        drawn = draw.integers(rows, size=(SCORED_RESAMPLES, rows))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a draw may hold no row of a class
            found = [_difference(metric, labels[some], ours[some], theirs[some], num_classes) for some in drawn]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return Paired(difference=difference, low=float(low), high=float(high), p_value=p_value)


def _difference(
    metric: metrics.Metric, labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, num_classes: int
) -> float:
    first, second = (metrics.score(metric, labels, answers, num_classes=num_classes) for answers in (ours, theirs))
    return first - second
