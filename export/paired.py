"""Two models' answers to the same rows: how far their metrics are apart, and whether that may be chance."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from compress import metrics

RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Our metric less theirs, with its 95 % interval (bootstrap over rows).

    `p_value`: exact McNemar test that both are right equally often; None for metrics other than accuracy.
    """

    difference: float
    low: float
    high: float
    p_value: float | None

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def paired_difference(
    metric: metrics.Metric, labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, *, num_classes: int, seed: int = 0
) -> Paired:
    """Compare answers (rows,) to labels (rows,), row by row. `num_classes` as in `metrics.score`."""
    rows = len(labels)
    draws = np.random.default_rng(seed).integers(rows, size=(RESAMPLES, rows))
    if metric == "accuracy":
        better = (ours == labels).astype(int) - (theirs == labels).astype(int)
        found = better[draws].mean(axis=1)
        wins, losses = int((better > 0).sum()), int((better < 0).sum())
        p_value = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
        difference = float(better.mean())
    else:
        scored = [
            [metrics.score(metric, labels[draw], answers[draw], num_classes=num_classes) for answers in (ours, theirs)]
            for draw in draws
        ]
        found = np.array(scored) @ [1.0, -1.0]
        p_value = None
        difference = metrics.score(metric, labels, ours, num_classes=num_classes) - metrics.score(
            metric, labels, theirs, num_classes=num_classes
        )
    low, high = np.quantile(found, [0.025, 0.975])
    return Paired(difference=difference, low=float(low), high=float(high), p_value=p_value)
