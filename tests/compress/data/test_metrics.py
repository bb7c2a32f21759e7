import numpy as np
import pytest

from compress.common.errors import UserError
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


def test_macro_f1_is_the_mean_over_the_classes_in_the_labels_also_for_two():
    first, second = (metrics.Positive(index=index, name="") for index in (0, 1))
    labels, predictions = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    of_first, of_second = (
        metrics.score("f1", labels, predictions, num_classes=2, positive=positive) for positive in (first, second)
    )
    assert (of_first, of_second) == (pytest.approx(0.8), pytest.approx(2 / 3))
    assert metrics.score("macro_f1", labels, predictions, num_classes=2) == pytest.approx((0.8 + 2 / 3) / 2)
    assert metrics.score("f1", labels, predictions, num_classes=2) == of_second
    one_class = metrics.score("macro_f1", np.zeros(4, dtype=int), predictions, num_classes=2)
    assert one_class == pytest.approx(2 / 3)  # class 1 has no rows, so it does not count


def test_the_positive_class_is_a_label_in_any_spelling_and_by_default_the_second():
    labels = ("spam", "Not spam")
    assert metrics.positive_class("f1", None, labels) == metrics.Positive(index=1, name="Not spam")
    assert metrics.positive_class("f1", "SPAM", labels) == metrics.Positive(index=0, name="spam")
    assert metrics.positive_class("f1", "1", ("0", "1")) == metrics.Positive(index=1, name="1")
    assert metrics.positive_class("f1", None, ("a", "b", "c")) is None
    assert metrics.positive_class("accuracy", None, labels) is None


@pytest.mark.parametrize(
    ("metric", "name", "labels", "message"),
    [
        ("f1", "spm", ("spam", "ham"), "the positive class 'spm' is not one of the labels: spam, ham"),
        ("accuracy", "spam", ("spam", "ham"), "for the metric accuracy; only f1 has one, of the labels spam, ham"),
        ("pearson_spearman", "spam", ("score",), "for the metric pearson_spearman; only f1 has one"),
        ("f1", "spam", ("spam", "ham", "eggs"), "for 3 labels (spam, ham, eggs); expected two labels, or the metric"),
    ],
)
def test_a_positive_class_that_is_none_is_refused_with_the_labels(metric, name, labels, message):
    with pytest.raises(UserError) as error:
        metrics.positive_class(metric, name, labels)
    assert message in str(error.value)


def test_f1_is_0_without_a_warning_if_no_row_and_no_prediction_has_the_class():
    zeros = np.zeros(3, dtype=int)
    assert metrics.score("f1", zeros, zeros, num_classes=2) == 0
    assert metrics.score("f1", zeros, zeros, num_classes=2, positive=metrics.Positive(index=0, name="")) == 1
