"""The test of whether outputs carry information about labels: calibrated on noise, sensitive to weak signals."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from compress.label_signal import signal_p_value


@pytest.mark.parametrize(("num_rows", "shares"), [(20, [0.5, 0.5]), (200, [0.95, 0.05]), (100, [0.05] * 20)])
def test_there_are_no_more_false_alarms_than_the_p_value_says(num_rows, shares):
    generator = np.random.default_rng(0)
    p_values = []
    for _ in range(1000):
        labels = generator.choice(len(shares), p=shares, size=num_rows)
        offsets = 3 * generator.normal(size=(num_rows, 1))  # which say nothing: only differences of logits count
        logits = generator.normal(size=(num_rows, len(shares))) * generator.gamma(1, size=len(shares)) + offsets
        p_values.append(signal_p_value("classification", labels, logits))
    for level in (0.01, 0.05, 0.5):
        assert np.mean(np.array(p_values) < level) == pytest.approx(level, abs=4 * (level * (1 - level) / 1000) ** 0.5)


def test_for_two_classes_it_is_the_test_of_mann_and_whitney():
    generator = np.random.default_rng(1)
    labels = generator.integers(2, size=300)
    margin = generator.normal(size=300) + 0.2 * labels
    expected = mannwhitneyu(margin[labels == 1], margin[labels == 0], alternative="greater", use_continuity=False)
    logits = np.stack([-margin, margin], axis=1)
    assert signal_p_value("classification", labels, logits) == pytest.approx(expected.pvalue, rel=0.02)


def test_a_weak_signal_in_150_classes_is_seen_where_accuracy_says_nothing():
    generator = np.random.default_rng(2)
    labels = generator.integers(150, size=2500)
    logits = generator.normal(size=(2500, 150))
    logits[np.arange(2500), labels] += 0.3
    assert (logits.argmax(axis=1) == labels).mean() < 0.02
    assert signal_p_value("classification", labels, logits) < 1e-20
    assert signal_p_value("classification", generator.permutation(labels), logits) > 0.01


def test_values_are_compared_by_rank_and_in_one_direction():
    generator = np.random.default_rng(3)
    labels = generator.normal(size=200)
    outputs = (labels + 3 * generator.normal(size=200))[:, np.newaxis]
    assert signal_p_value("regression", labels, outputs) < 0.01 < 0.99 < signal_p_value("regression", labels, -outputs)


@pytest.mark.parametrize(
    "logits",
    [np.zeros((50, 2)), np.full((50, 2), np.nan), np.tile([np.inf, 0.0], (50, 1)), np.tile([5.0, 0.0], (50, 1))],
)
def test_outputs_that_are_constant_or_not_finite_carry_nothing(logits):
    labels = np.arange(50) % 2
    assert signal_p_value("classification", labels, logits) == 1.0
    assert signal_p_value("regression", labels.astype(float), logits[:, :1]) == 1.0
