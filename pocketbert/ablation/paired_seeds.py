"""Differences between two kinds of student, each trained with the same several seeds and scored on the same rows.

A difference may be due to the seeds or to the scored rows. There is an interval for each (compare Bouthillier et al.
2021, "Accounting for variance in machine learning benchmarks").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t

from export.parity.significance import RESAMPLES, SCORED_RESAMPLES, resampled_means, resampled_scores

Score = Callable[[np.ndarray, np.ndarray], float]  # of labels and predictions
Verdict = Literal["higher", "lower", "not separable", "one seed"]


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over seeds with its 95% t interval; without one for a single seed."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class SeedDifference:
    """A mean difference over seeds.

    `seeds`: its t interval over seeds. `rows_low`, `rows_high`: its 95% bootstrap interval over the scored rows.
    """

    seeds: Mean
    rows_low: float
    rows_high: float

    @property
    def verdict(self) -> Verdict:
        """Whether it differs from 0 both for other seeds and for other rows."""
        low, high = self.seeds.low, self.seeds.high
        if low is None or high is None:
            return "one seed"
        if min(low, self.rows_low) > 0:
            return "higher"
        return "lower" if max(high, self.rows_high) < 0 else "not separable"


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of independent values, such as one per seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Mean(value=mean, low=None, high=None)
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Mean(value=mean, low=mean - half, high=mean + half)


def difference_over_seeds(
    labels: np.ndarray,
    predictions: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    score: Score,
    *,
    is_mean: bool,
    seed: int = 0,
) -> SeedDifference:
    """The score of `predictions` minus that of `reference`, paired by seed and by row.

    `predictions`, `reference`: for each seed, the predictions in the form of the labels, one per row. `is_mean`:
    whether the score is the mean over rows of predictions that equal their label (accuracy).
    """
    pairs = list(zip(predictions, reference, strict=True))
    by_seed = [score(labels, own) - score(labels, other) for own, other in pairs]
    generator, num_rows = np.random.default_rng(seed), len(labels)
    if is_mean:
        gains = np.mean([(own == labels).astype(float) - (other == labels) for own, other in pairs], axis=0)
        values, counts = np.unique(gains, return_counts=True)
        resampled = resampled_means(values, counts, generator, RESAMPLES)
    else:

        def difference(rows: np.ndarray) -> float:
            gains = [score(labels[rows], own[rows]) - score(labels[rows], other[rows]) for own, other in pairs]
            return float(np.mean(gains))

        resampled = resampled_scores(difference, num_rows, generator, SCORED_RESAMPLES)
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return SeedDifference(seeds=mean_of(by_seed), rows_low=float(low), rows_high=float(high))
