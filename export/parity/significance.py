"""Compares the metrics of two models on the same rows: the difference, its interval and its significance."""

import warnings

import numpy as np
from scipy.stats import binomtest

from compress.data.metrics import Metric, Positive
from compress.data.task_types import TaskType
from export.results import MetricDifference

RESAMPLES = 1000
SCORED_RESAMPLES = 200  # for metrics that are not a mean over rows


def paired_difference(
    metric: Metric,
    labels: np.ndarray,
    predictions: np.ndarray,
    reference: np.ndarray,
    *,
    task_type: TaskType,
    num_labels: int,
    positive: Positive | None = None,
    seed: int = 0,
    resamples: int | None = None,
) -> MetricDifference:
    """The metric of a model's predictions minus that of the reference model's, paired by row.

    `labels`, `predictions`, `reference`: in the form of the labels, one per row. `num_labels`,
    `positive`: as in `TaskType.score`. `resamples`: of the bootstrap; by default 1,000 for accuracy, and 200 for the
    other metrics, which take longer.
    """
    num_rows, generator = len(labels), np.random.default_rng(seed)
    p_value = None
    if metric == "accuracy":
        gain = (predictions == labels).astype(int) - (reference == labels).astype(int)
        wins, losses = int((gain > 0).sum()), int((gain < 0).sum())
        difference = (wins - losses) / num_rows
        shares = np.array([wins, losses, num_rows - wins - losses]) / num_rows
        counts = generator.multinomial(num_rows, shares, size=resamples or RESAMPLES)
        resampled = counts @ np.array([1, -1, 0]) / num_rows
        p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    else:

        def difference_of(rows: np.ndarray) -> float:
            score, reference_score = (
                task_type.score(metric, labels[rows], each[rows], num_labels, positive=positive)
                for each in (predictions, reference)
            )
            return score - reference_score

        difference = difference_of(np.arange(num_rows))
        samples = generator.integers(num_rows, size=(resamples or SCORED_RESAMPLES, num_rows))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a sample may lack all rows of a class
            resampled = [difference_of(rows) for rows in samples]
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return MetricDifference(value=difference, low=float(low), high=float(high), p_value=p_value)
