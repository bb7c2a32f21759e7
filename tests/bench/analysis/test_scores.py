"""Scores of a benchmark: the interval, the comparison with teacher and baseline, and the classes that are missed."""

import numpy as np
import pytest

from bench.analysis.scores import score_systems
from bench.results.benchmark import ClassCount
from bench.timing.systems import Workload

ROLES = {0: "teacher", 1: "student", 2: "baseline"}


def workload(labels: list[float], *, num_labels: int = 2, task_type: str = "classification") -> Workload:
    return Workload(
        texts=["a"] * len(labels), pairs=None, labels=labels, task_type=task_type, num_labels=num_labels, grid=()
    )


def predictions(rows: int, *errors: float) -> dict[int, np.ndarray]:
    """For labels of 0, predictions of which this share is wrong, on rows that overlap."""
    return {row_id: (np.arange(rows) < share * rows).astype(int) for row_id, share in enumerate(errors)}


def test_retention_is_paired_with_the_teacher_and_the_difference_with_the_baseline():
    scores = score_systems(predictions(1000, 0.1, 0.12, 0.5), ROLES, workload([0] * 1000), "accuracy")
    student, teacher, baseline = scores[1], scores[0], scores[2]
    assert student.score == 0.88 and student.retention.value == pytest.approx(0.88 / 0.9)
    assert 0.96 < student.retention.low < student.retention.value < student.retention.high < 1, (
        "errors on the same rows make it narrow"
    )
    assert student.minus_baseline.value == pytest.approx(0.38) and student.minus_baseline.low > 0.3
    assert teacher.retention is None and baseline.minus_baseline is None
    assert teacher.minus_baseline.value == pytest.approx(0.4) and baseline.retention.value == pytest.approx(5 / 9)


def test_few_rows_give_a_wide_interval_even_without_a_difference():
    few = score_systems(predictions(10, 0.1, 0.1), ROLES, workload([0] * 10), "accuracy")[1].retention
    many = score_systems(predictions(2000, 0.1, 0.1), ROLES, workload([0] * 2000), "accuracy")[1].retention
    assert few.value == many.value == 1
    assert few.high - few.low > 0.1 > 0.01 > many.high - many.low


@pytest.mark.parametrize("metric", ["macro_f1", "f1", "matthews"])
def test_other_metrics_use_the_same_rows_for_all_systems(metric):
    labels = [0, 1] * 200
    own = np.array(labels)
    wrong = own.copy()
    wrong[:40] = 1 - wrong[:40]
    scores = score_systems({0: wrong, 1: wrong, 2: 1 - own}, ROLES, workload(labels), metric)
    retention = scores[1].retention
    assert (retention.value, retention.low, retention.high) == (1, 1, 1)
    assert scores[1].minus_baseline.low > 0 and scores[1].minus_baseline.p_value is None
    low, high = scores[1].score_interval
    assert low < scores[1].score < high


def test_retention_means_nothing_if_the_teacher_may_score_nothing():
    generator = np.random.default_rng(0)
    labels, teacher, student = (generator.normal(size=60) for _ in range(3))
    scored = {0: teacher, 1: student}
    values = workload(labels.tolist(), num_labels=1, task_type="regression")
    scores = score_systems(scored, ROLES, values, "pearson_spearman")
    assert scores[1].retention is None and scores[1].never_predicted is None
    negative = score_systems({0: -labels, 1: labels}, ROLES, values, "pearson_spearman")
    assert negative[0].score < 0 and negative[1].retention is None
    always_wrong = score_systems({0: np.ones(9, int), 1: np.zeros(9, int)}, ROLES, workload([0] * 9), "accuracy")
    assert always_wrong[1].retention is None


def test_missed_classes_are_those_with_texts_most_frequent_first():
    labels = [0] * 5 + [1] * 3 + [2] * 4 + [4]
    scores = score_systems({0: np.zeros(13, int)}, ROLES, workload(labels, num_labels=6), "accuracy")
    expected = [(2, 4), (1, 3), (4, 1)]
    assert scores[0].never_predicted == [ClassCount(index=index, rows=rows) for index, rows in expected]
    perfect = score_systems({0: np.array(labels)}, ROLES, workload(labels, num_labels=6), "accuracy")
    assert perfect[0].never_predicted == []
    unlabelled = Workload(texts=["a"], pairs=None, labels=None, task_type="classification", num_labels=2, grid=())
    assert score_systems({0: np.zeros(1, int)}, ROLES, unlabelled, "accuracy") == {}
