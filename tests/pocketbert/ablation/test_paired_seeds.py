"""Differences over several seeds: their two intervals, and when they count."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from compress.data import metrics
from pocketbert.ablation.paired_seeds import Mean, SeedDifference, difference_over_seeds, mean_of

LABELS = np.random.default_rng(0).integers(2, size=2000)


def predictions(accuracy: float, seed: int) -> np.ndarray:
    wrong = np.random.default_rng(seed).random(len(LABELS)) >= accuracy
    return np.where(wrong, 1 - LABELS, LABELS)


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return metrics.score("accuracy", labels, predicted, num_classes=2)


def test_the_interval_over_seeds_is_the_t_interval():
    values = [0.81, 0.84, 0.80, 0.83]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    mean = mean_of(values)
    assert (mean.low, mean.high) == pytest.approx((expected.low, expected.high)) and mean.value == pytest.approx(0.82)
    assert mean_of([0.5]) == Mean(value=0.5, low=None, high=None)


@pytest.mark.parametrize("is_mean", [True, False])
def test_a_clear_difference_is_found_by_both_ways_of_resampling(is_mean):
    own, other = ([predictions(share, seed + start) for seed in range(3)] for share, start in ((0.7, 1), (0.9, 10)))
    difference = difference_over_seeds(LABELS, own, other, accuracy, is_mean=is_mean)
    assert difference.seeds.value == pytest.approx(-0.2, abs=0.02) and difference.verdict == "lower"
    assert difference.rows_low < difference.seeds.value < difference.rows_high
    assert difference.rows_high - difference.rows_low == pytest.approx(4 * np.sqrt(0.1 / len(LABELS)), rel=0.35)
    assert difference_over_seeds(LABELS, other, own, accuracy, is_mean=is_mean).verdict == "higher"


def test_equal_predictions_of_all_seeds_do_not_shrink_the_interval_over_rows():
    one, other = predictions(0.8, 1), predictions(0.82, 2)
    of_one = difference_over_seeds(LABELS, [one], [other], accuracy, is_mean=True)
    of_three = difference_over_seeds(LABELS, [one] * 3, [other] * 3, accuracy, is_mean=True)
    assert (of_three.rows_low, of_three.rows_high) == (of_one.rows_low, of_one.rows_high)


def test_the_order_of_seeds_pairs_them():
    own = [predictions(0.8, 1), predictions(0.7, 2)]
    assert difference_over_seeds(LABELS, own, own, accuracy, is_mean=True).seeds == Mean(value=0.0, low=0.0, high=0.0)
    crossed = difference_over_seeds(LABELS, own, own[::-1], accuracy, is_mean=True)
    assert crossed.seeds.low is not None and crossed.seeds.low < -0.5


@pytest.mark.parametrize(
    ("seeds", "rows", "verdict"),
    [
        ((0.01, 0.03), (0.01, 0.05), "higher"),
        ((-0.03, -0.01), (-0.05, -0.01), "lower"),
        ((-0.01, 0.03), (0.01, 0.05), "not separable"),
        ((0.01, 0.03), (-0.01, 0.05), "not separable"),
        ((0.0, 0.0), (0.0, 0.0), "not separable"),
        ((None, None), (0.01, 0.05), "one seed"),
    ],
)
def test_a_verdict_needs_both_intervals(seeds, rows, verdict):
    mean = Mean(value=0.0, low=seeds[0], high=seeds[1])
    assert SeedDifference(seeds=mean, rows_low=rows[0], rows_high=rows[1]).verdict == verdict
