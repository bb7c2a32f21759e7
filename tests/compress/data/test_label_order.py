"""Outputs in another order than the labels are noticed, and models that are merely bad raise no alarm."""

from collections.abc import Callable

import numpy as np
import pytest

from compress.common.errors import UserError
from compress.data.columns import Split
from compress.data.label_order import align_labels, label_doubt, require_label_order
from compress.data.metrics import better_order
from compress.data.tasks import load_task
from tiny_bert import rows, write_csv

Sample = tuple[np.ndarray, np.ndarray, int]


def sampled(
    num_rows: int,
    num_classes: int,
    accuracy: float,
    meaning: list[int] | None = None,
    shares: list[float] | None = None,
) -> Callable[[int], Sample]:
    """Labels, and predictions of a model that is right so often, else random. `meaning`: of each output."""

    def sample(seed: int) -> Sample:
        generator = np.random.default_rng(seed)
        labels = generator.choice(num_classes, num_rows, p=shares)
        guessed = generator.integers(0, num_classes, num_rows)
        predictions = np.where(generator.random(num_rows) < accuracy, labels, guessed)
        return labels, predictions if meaning is None else np.argsort(meaning)[predictions], num_classes

    return sample


def confusing_two(seed: int) -> Sample:
    """It predicts either of two similar classes for both."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 5, 300)
    either = (labels < 2) & (generator.random(300) < 0.5)
    return labels, np.where(either, 1 - labels, labels), 5


INNOCENT = {
    "random, two classes": sampled(1000, 2, 0.0),
    "random, few rows": sampled(20, 2, 0.0),
    "random, three classes, very few rows": sampled(15, 3, 0.0),
    "random, 77 classes in 231 rows": sampled(231, 77, 0.0),
    "random, imbalanced": sampled(200, 2, 0.0, shares=[0.95, 0.05]),
    "weak": sampled(300, 5, 0.3),
    "good, imbalanced": sampled(200, 2, 0.9, shares=[0.95, 0.05]),
    "always one class": lambda seed: (sampled(200, 3, 0.0)(seed)[0], np.full(200, 2), 3),
    "two similar classes": confusing_two,
    "perfect": sampled(50, 4, 1.0),
}
SWAPPED = {
    "two of five": ([1, 0, 2, 3, 4], sampled(60, 5, 1.0, [1, 0, 2, 3, 4])),
    "two of five, less accurate": ([0, 1, 2, 4, 3], sampled(150, 5, 0.8, [0, 1, 2, 4, 3])),
    "two rare of three": ([0, 2, 1], sampled(2000, 3, 1.0, [0, 2, 1], [0.98, 0.01, 0.01])),
    "all of three": ([2, 0, 1], sampled(60, 3, 0.85, [2, 0, 1])),
    "four of fourteen": ([*range(10), 11, 12, 13, 10], sampled(300, 14, 0.9, [*range(10), 11, 12, 13, 10])),
    "two": ([1, 0], sampled(40, 2, 0.9, [1, 0])),
}
SUSPECTED = {
    "two of five, poor": ([1, 0, 2, 3, 4], sampled(300, 5, 0.3, [1, 0, 2, 3, 4])),
    "two of five, few rows": ([1, 0, 2, 3, 4], lambda seed: (np.arange(20) % 5, np.array([1, 0, 2, 3, 4] * 4), 5)),
}


@pytest.mark.parametrize("kind", INNOCENT)
def test_no_alarm_for_a_bad_model(kind):
    alarms = sum(
        better_order(labels, predictions, num_classes=count, suspected=suspected) is not None
        for labels, predictions, count in map(INNOCENT[kind], range(60))
        for suspected in (False, True)
    )
    assert alarms <= 1  # of 120


@pytest.mark.parametrize("kind", SWAPPED)
def test_swapped_outputs_are_refused(kind):
    order, sample = SWAPPED[kind]
    recognised = 0
    for labels, predictions, count in map(sample, range(20)):
        recognised += better_order(labels, predictions, num_classes=count) == order
    assert recognised >= 18
    names = [f"c{index}" for index in range(len(order))]
    labels, predictions, _ = sample(0)
    split = Split(texts=[""] * len(labels), pairs=None, labels=labels)
    with pytest.raises(UserError, match="its outputs are not in the order of the labels") as error:
        require_label_order(split, predictions, names, "m", "classification")
    assert ", ".join(names[index] for index in order) in str(error.value)


@pytest.mark.parametrize("kind", SUSPECTED)
def test_swapped_outputs_that_are_less_certain_give_a_caution(kind):
    order, sample = SUSPECTED[kind]
    labels, predictions, count = sample(1)
    names = [f"c{index}" for index in range(count)]
    split = Split(texts=[""] * len(labels), pairs=None, labels=labels)
    require_label_order(split, predictions, names, "m", "classification")
    moved = next(index for index in range(count) if order[index] != index)
    doubt = label_doubt(split, predictions, names, "m", "classification")
    assert doubt is not None
    assert doubt.startswith(
        f"m: where it predicts '{names[moved]}', more rows have the label '{names[order[moved]]}'; "
    )


def test_a_score_below_the_most_common_label_gives_a_caution():
    labels = np.array([0] * 60 + [1] * 40)
    split = Split(texts=[""] * 100, pairs=None, labels=labels)

    def doubt(predictions):
        return label_doubt(split, np.array(predictions), ("no", "yes"), "m", "classification")

    assert doubt([1] * 100) == (
        "m: its accuracy of 0.400 is below 0.600, that of always predicting 'no'; are the labels of the table in the "
        "order of the model's outputs?"
    )
    assert doubt(labels) is None and doubt([0] * 100) is None
    assert doubt(np.concatenate([np.zeros(56), np.ones(4), np.zeros(40)]).astype(int)) is None, "within its error"


def test_a_negative_correlation_gives_a_caution():
    values = np.linspace(0, 5, 50)
    split = Split(texts=[""] * 50, pairs=None, labels=values)
    assert "its correlation with the labels is -1.000" in str(
        label_doubt(split, -values, ("score",), "m", "regression")
    )
    assert label_doubt(split, values, ("score",), "m", "regression") is None


# -- the teacher's names


@pytest.fixture
def task(tmp_path):
    def load(cells, **options):
        lines = [(text, cells[index % len(cells)]) for index, (text, _) in enumerate(rows(60))]
        path = write_csv(tmp_path / "t.csv", ("text", "label"), lines)
        return load_task(name="t", data=path, text=["text"], label="label", **options)

    return load


def test_a_teacher_with_names_in_upper_case_is_matched_and_reported(task):
    loaded = task(["entailment", "neutral", "contradiction"])
    aligned = align_labels(loaded, ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"))
    assert aligned.labels == ("CONTRADICTION", "NEUTRAL", "ENTAILMENT")
    index = {"contradiction": 0, "neutral": 2, "entailment": 1}  # sorted: contradiction, entailment, neutral
    assert index["neutral"] == loaded.labels.index("neutral")
    before = [loaded.labels[label] for label in loaded.train.labels]
    assert [aligned.labels[label].lower() for label in aligned.train.labels] == before
    assert "regardless of case" in aligned.remarks[-1]


def test_labels_given_in_the_teachers_order_stand_for_its_names(task):
    given = task(["neg", "pos"], labels=["pos", "neg"])
    aligned = align_labels(given, ("positive", "negative"))
    assert aligned.labels == ("positive", "negative") and aligned.train is given.train
    assert aligned.remarks[-1].endswith("pos is positive, neg is negative")
    with pytest.raises(UserError, match="teacher and data disagree"):
        align_labels(task(["neg", "pos"]), ("positive", "negative"))
    partly = task(["contradictory", "neutral"], labels=["neutral", "contradictory"])
    assert align_labels(partly, ("neutral", "contradiction")).labels == ("neutral", "contradiction")
    with pytest.raises(UserError, match=r"only the teacher has contradiction; only the data have contradictory$"):
        align_labels(partly, ("contradiction", "neutral"))


def test_integers_are_the_outputs_of_a_teacher_without_names_and_other_names_are_not(task):
    default = ("LABEL_0", "LABEL_1", "LABEL_2")
    assert align_labels(task([2, 0, 1]), default).labels == ("0", "1", "2")
    assert align_labels(task(["0.0", "1.0", "2.0"]), default).labels == ("0", "1", "2")
    for labels in ([1, 2, 3], ["a", "b", "c"], [-1, 0, 1]):
        with pytest.raises(UserError, match="only the default names"):
            align_labels(task(labels), default)
    assert align_labels(task([1, 2, 3], labels=["bad", "fair", "good"]), default).labels == ("bad", "fair", "good")


def test_a_regression_teacher_may_have_any_name(tmp_path):
    path = write_csv(tmp_path / "n.csv", ("text", "label"), [(text, i / 7) for i, (text, _) in enumerate(rows(60))])
    loaded = load_task(name="t", data=path, text=["text"], label="label", task_type="regression")
    assert align_labels(loaded, ("LABEL_0",)) is loaded and align_labels(loaded, ("stars",)) is loaded
