"""The metric and the remarks that follow from the classes of a table."""

import numpy as np
import pytest

from compress.data.columns import Split
from compress.data.tasks import Task
from pocketbert.new_recipe.classes import about_classes, choose_metric


def task_of(*counts: int, dev: tuple[int, ...] = (), names: tuple[str, ...] = ()) -> Task:
    """A task with so many train rows of each class, and as many dev rows if not given."""

    def split(each: tuple[int, ...]) -> Split:
        labels = np.repeat(np.arange(len(each)), each)
        return Split(texts=list(map(str, range(len(labels)))), pairs=None, labels=labels)

    train, dev_rows = split(counts), split(dev or counts)
    labels = names or tuple(f"c{index}" for index in range(len(counts)))
    return Task(name="t", type="classification", labels=labels, train=train, dev=dev_rows, test=dev_rows, max_length=16)


@pytest.mark.parametrize(
    ("counts", "metric", "positive"),
    [
        ((50, 50), "accuracy", None),
        ((79, 21), "accuracy", None),
        ((80, 20), "f1", "c1"),
        ((5, 95), "f1", "c0"),
        ((30, 34, 36), "accuracy", None),
        ((70, 20, 10), "macro_f1", None),  # one class has more than twice the mean
        ((48, 48, 4), "macro_f1", None),  # one has less than a fifth of it
        ((35, 100, 120, 187), "accuracy", None),
    ],
)
def test_the_metric_follows_from_the_shares(counts, metric, positive):
    choice = choose_metric(task_of(*counts))
    assert (choice.metric, choice.positive) == (metric, positive)


def test_the_reason_names_the_class_and_its_share():
    assert choose_metric(task_of(95, 5, names=("ham", "spam"))).reason == (
        "spam is rare (5.0 %), so always predicting ham is accurate"
    )
    assert "c2 has only 4.0 % of the rows" in choose_metric(task_of(48, 48, 4)).reason
    assert "c0 has 70 % of the rows" in choose_metric(task_of(70, 20, 10)).reason


def test_rare_classes_are_named_the_rarest_first():
    shares, train, dev = about_classes(task_of(40, 9, 3, 30, dev=(5, 2, 1, 2)))
    assert shares == "4 classes (c0 49 %, c3 37 %, c1 11 %, c2 3.7 %)"
    assert train == "caution: 2 of 4 classes have fewer than 10 train rows: c2, c1"
    assert dev == "caution: 1 of 4 classes has fewer than 2 dev rows: c2"
    assert len(about_classes(task_of(40, 40))) == 1
    assert about_classes(task_of(*[5] * 30))[1].endswith("c6, c7, ...")


def test_a_name_in_a_message_stays_on_its_line():
    (line, *_) = about_classes(task_of(40, 40, names=("a\nb\x07", "x" * 99)))
    assert "a b?" in line and "\n" not in line and "x" * 25 not in line
