import numpy as np
import pytest

from compress import metrics

LABELS = np.array([0, 1, 1, 0, 1, 0])
ANSWERS = np.array([0, 1, 0, 0, 1, 1])


def test_scores_of_classes_are_those_of_their_definitions():
    true_positive, false_positive, false_negative, true_negative = 2, 1, 1, 2
    assert metrics.score("accuracy", LABELS, ANSWERS) == pytest.approx(4 / 6)
    assert metrics.score("f1", LABELS, ANSWERS) == pytest.approx(
        2 * true_positive / (2 * true_positive + false_positive + false_negative)
    )
    matthews = (true_positive * true_negative - false_positive * false_negative) / np.sqrt(3 * 3 * 3 * 3)
    assert metrics.score("matthews", LABELS, ANSWERS) == pytest.approx(matthews)
    assert metrics.score("f1", np.array([0, 1, 2]), np.array([0, 1, 1])) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_pearson_spearman_is_the_mean_of_both():
    numbers = np.array([0.0, 1.0, 2.0, 5.0])
    answers = np.array([0.0, 2.0, 4.0, 30.0])
    pearson = np.corrcoef(numbers, answers)[0, 1]
    assert metrics.score("pearson_spearman", numbers, answers) == pytest.approx((pearson + 1) / 2)
    assert metrics.score("pearson_spearman", numbers, np.ones(4)) == 0.0


def test_a_model_answers_with_its_largest_logit_or_its_only_output():
    np.testing.assert_array_equal(metrics.decide(np.array([[1.0, 3.0], [2.0, 0.0]])), [1, 0])
    np.testing.assert_array_equal(metrics.decide(np.array([[1.5], [-2.0]])), [1.5, -2.0])
