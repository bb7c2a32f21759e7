"""Compares the metrics of two models on the same rows: the difference, its interval and its significance."""

import warnings
from collections.abc import Callable

import numpy as np
from scipy.stats import binomtest

from compress.data.metrics import Metric, Positive
from compress.data.task_types import TaskType
from export.results import MetricDifference

RESAMPLES = 1000
SCORED_RESAMPLES = 200  # for metrics that are not a mean over rows


def resampled_means(
    values: np.ndarray, counts: np.ndarray, generator: np.random.Generator, resamples: int
) -> np.ndarray:
    """Bootstrap means over rows, (resamples,). `values`: that rows can have; `counts`: how many rows have each."""
    num_rows = int(counts.sum())
    return generator.multinomial(num_rows, counts / num_rows, size=resamples) @ values / num_rows


def resampled_scores(
    score_of: Callable[[np.ndarray], float], num_rows: int, generator: np.random.Generator, resamples: int
) -> np.ndarray:
    """Bootstrap values of a metric that is not a mean over rows, (resamples,). `score_of`: of row numbers."""
    samples = generator.integers(num_rows, size=(resamples, num_rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sample may lack all rows of a class
        return np.array([score_of(rows) for rows in samples])


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
        counts = np.array([wins, losses, num_rows - wins - losses])
        resampled = resampled_means(np.array([1, -1, 0]), counts, generator, resamples or RESAMPLES)
        p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    else:

        def difference_of(rows: np.ndarray) -> float:
            score, reference_score = (
                task_type.score(metric, labels[rows], each[rows], num_labels, positive=positive)
                for each in (predictions, reference)
            )
            return score - reference_score

        difference = difference_of(np.arange(num_rows))
        resampled = resampled_scores(difference_of, num_rows, generator, resamples or SCORED_RESAMPLES)
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return MetricDifference(value=difference, low=float(low), high=float(high), p_value=p_value)
