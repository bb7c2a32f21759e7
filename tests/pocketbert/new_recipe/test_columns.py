"""What `pocketbert new` says about columns that a run does not read."""

import pandas as pd
import pytest

from pocketbert.new_recipe.columns import cautions, label_column, text_columns

TEXTS = [f"the film number {index}" for index in range(12)]
NAMES = ["plot", "cast", "plot; cast", "music", "cast; music", "plot; music"]


def cautions_about(label: list, **others: list) -> list[str]:
    table = pd.DataFrame({"text": TEXTS, "label": label, **others})
    return cautions(table, ["text"], "label")


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "valid", "TEST"), ("train", "dev", "test")])
def test_a_column_of_splits_is_named(names):
    (line,) = cautions_about(["a", "b"] * 6, fold=[names[index % len(names)] for index in range(12)])
    assert "'fold' assigns rows to splits" in line


@pytest.mark.parametrize("labels", [NAMES, ["0,3", "3", "0", "1,3", "1", "0,1"], ["['a', 'b']", "['a']", "['b', 'a']"]])
def test_labels_that_combine_others_are_named(labels):
    (line,) = cautions_about([labels[index % len(labels)] for index in range(12)])
    assert "several labels per text are not supported" in line


def test_further_columns_of_labels_are_named():
    (line,) = cautions_about([0, 1] * 6, obscene=[1, 0, 0] * 4, length=list(range(12)))
    assert "obscene may be labels too" in line


@pytest.mark.parametrize(
    "labels", [["yes, please", "no, thanks"], ["a", "b"], ["New York, NY", "Austin, TX", "Reno, NV"]]
)
def test_names_with_separators_are_no_lists(labels):
    assert cautions_about([labels[index % len(labels)] for index in range(12)], user=["x", "y", "train"] * 4) == []


def test_columns_that_are_no_text_do_not_matter():
    """pandas cannot turn them into its own strings."""
    columns = {"text": TEXTS, "label": [0, 1] * 6, "image": [b"\xff\xfe"] * 12, "note": ["\ud800", None] * 6}
    table = pd.DataFrame(columns, dtype=object)
    assert label_column(table, "t") == "label" and text_columns(table, "label", "t") == ["text"]
    assert cautions(table, ["text"], "label") == []
