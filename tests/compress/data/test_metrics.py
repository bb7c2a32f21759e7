import numpy as np
import pytest

from compress.data import metrics

LABELS = np.array([0, 1, 1, 0, 1, 0])
PREDICTIONS = np.array([0, 1, 0, 0, 1, 1])


def test_scores_of_classes_match_their_definitions():
    true_positive, false_positive, false_negative, true_negative = 2, 1, 1, 2
    assert metrics.score("accuracy", LABELS, PREDICTIONS, num_classes=2) == pytest.approx(4 / 6)
    assert metrics.score("f1", LABELS, PREDICTIONS, num_classes=2) == pytest.approx(
        2 * true_positive / (2 * true_positive + false_positive + false_negative)
    )
    matthews = (true_positive * true_negative - false_positive * false_negative) / np.sqrt(3 * 3 * 3 * 3)
    assert metrics.score("matthews", LABELS, PREDICTIONS, num_classes=2) == pytest.approx(matthews)


def test_f1_of_more_than_two_classes_is_the_mean_over_the_classes_in_the_labels():
    assert metrics.score("f1", np.array([0, 1, 2]), np.array([0, 1, 1]), num_classes=3) == pytest.approx(5 / 9)
    labels = np.array([0, 1, 0, 1])
    without, stray = np.array([0, 1, 0, 0]), np.array([0, 1, 0, 2])
    assert metrics.score("f1", labels, without, num_classes=3) == pytest.approx((0.8 + 2 / 3) / 2)
    assert metrics.score("f1", labels, stray, num_classes=3) == pytest.approx((1 + 2 / 3) / 2)


def test_pearson_spearman_is_the_mean_of_both_correlations():
    numbers = np.array([0.0, 1.0, 2.0, 5.0])
    predictions = np.array([0.0, 2.0, 4.0, 30.0])
    pearson = np.corrcoef(numbers, predictions)[0, 1]
    assert metrics.score("pearson_spearman", numbers, predictions, num_classes=1) == pytest.approx((pearson + 1) / 2)
    assert metrics.score("pearson_spearman", numbers, np.ones(4), num_classes=1) == 0.0
