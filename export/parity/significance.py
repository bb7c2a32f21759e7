"""Two models' answers to the same rows: how far their metrics are apart, and whether that may be chance."""

import warnings

import numpy as np
from scipy.stats import binomtest

from compress.data.metrics import Metric
from compress.data.task_types import TaskType
from export.results import MetricDifference

RESAMPLES = 1000
SCORED_RESAMPLES = 200  # of metrics that are no mean over rows


def paired_difference(
    metric: Metric,
    labels: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    kind: TaskType,
    num_labels: int,
    seed: int = 0,
) -> MetricDifference:
    """Compare answers to labels, row by row; arrays and `num_labels` as in `TaskType.score`."""
    rows, draw = len(labels), np.random.default_rng(seed)
    p_value = None
    if metric == "accuracy":
        better = (ours == labels).astype(int) - (theirs == labels).astype(int)
        wins, losses = int((better > 0).sum()), int((better < 0).sum())
        difference = (wins - losses) / rows
        shares = np.array([wins, losses, rows - wins - losses]) / rows
        differences = draw.multinomial(rows, shares, size=RESAMPLES) @ np.array([1, -1, 0]) / rows
        p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    else:
        difference = _difference(kind, metric, labels, ours, theirs, num_labels)
        drawn = draw.integers(rows, size=(SCORED_RESAMPLES, rows))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a draw may hold no row of a class
            differences = [
                _difference(kind, metric, labels[some], ours[some], theirs[some], num_labels) for some in drawn
            ]
    low, high = np.nanquantile(differences, [0.025, 0.975])
    return MetricDifference(value=difference, low=float(low), high=float(high), p_value=p_value)


def _difference(
    kind: TaskType, metric: Metric, labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, num_labels: int
) -> float:
    first, second = (kind.score(metric, labels, answers, num_labels) for answers in (ours, theirs))
    return first - second
