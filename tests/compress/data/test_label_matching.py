"""The labels of a table are matched with a model's outputs in one certain way, or refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.common.errors import UserError
from compress.data.columns import can_be_classes, label_indices_of, label_names_of, label_values_of
from compress.data.label_matching import check_table_labels, comparable, match_labels
from compress.data.tasks import load_task, read_split
from tiny_bert import rows, write_csv

DEFAULT = ("LABEL_0", "LABEL_1", "LABEL_2")
MOODS = ("negative", "neutral", "positive")
STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
INTENTS = tuple(f"intent {chr(97 + index // 26)}{chr(97 + index % 26)}" for index in range(77))


def read(labels, names, **options):
    """The outputs of the labels, in the order of the labels, and the remarks."""
    reading = match_labels({"rows": labels}, names, column="label", where="t.csv", **options)
    return [reading.index[label] for label in labels], reading.remarks


@pytest.mark.parametrize(
    ("labels", "names", "outputs", "remark"),
    [
        (["positive", "negative"], MOODS, [2, 0], None),
        (["LABEL_2", "LABEL_0"], DEFAULT, [2, 0], None),
        (["1", "2"], ("2", "1"), [1, 0], None),  # names win over positions
        (["9", "10"], ("10", "9"), [1, 0], None),
        (["-1", "1"], ("1", "-1"), [1, 0], None),
        (["m", "M"], ("M", "m"), [1, 0], None),
        (["Negative", "POSITIVE"], MOODS, [0, 2], "regardless of case, .*: Negative is negative, POSITIVE is positive"),
        (["Not Entailment"], ("entailment", "not_entailment"), [1], "Not Entailment is not_entailment"),
        (["not  spam"], ("spam", "not-spam"), [1], "not  spam is not-spam"),
        (["STRASSE", "A\u0308rger"], ("stra\xdfe", "\xe4rger"), [0, 1], "STRASSE is stra\xdfe"),
        (["label 1"], DEFAULT, [1], "label 1 is LABEL_1"),
        (["True", "false"], ("false", "true"), [1, 0], "True is true"),
        (["Pos", "POS", "pos"], ("neg", "pos"), [1, 1, 1], "POS is pos, Pos is pos"),
        (["0.0", "1."], ("1", "0"), [1, 0], "whole numbers: 0.0 is 0, 1. is 1"),
        (["-1.00", "1"], ("-1", "1"), [0, 1], "-1.00 is -1"),
        (["0", "1", "2"], MOODS, [0, 1, 2], "labels 0 to 2 are positions: 0 is negative, 1 is neutral, 2 is positive"),
        (["0", "2"], DEFAULT, [0, 2], "labels 0 and 2 are positions: 0 is LABEL_0, 2 is LABEL_2"),
        (["1.0", "0.0"], ("no", "yes"), [1, 0], "labels 0.0 and 1.0 are positions: 0.0 is no, 1.0 is yes"),
        (["0", "1", "2"], ("1", "2", "3"), [0, 1, 2], "0 to 2 are positions: 0 is 1, 1 is 2, 2 is 3"),
        (["1", "0"], ("False", "True"), [1, 0], "labels 0 and 1 are positions: 0 is False, 1 is True"),
        (list("51234"), STARS, [4, 0, 1, 2, 3], "1 is 1 star, 2 is 2 stars"),
        (list("01234"), STARS, [0, 1, 2, 3, 4], "positions: 0 is 1 star"),
        (list("12"), ("class 2", "class 1"), [1, 0], "1 is class 1, 2 is class 2"),
    ],
)
def test_a_certain_reading_is_used_and_reported(labels, names, outputs, remark):
    actual, remarks = read(labels, names)
    assert actual == outputs
    if remark is None:
        assert remarks == []
    else:
        (line,) = remarks
        assert pd.Series([line]).str.contains(remark).all(), line


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (["1", "2"], DEFAULT, "may count from 0 .1 is LABEL_1, 2 is LABEL_2. or from 1 .1 is LABEL_0, 2 is LABEL_1."),
        (["2"], MOODS, "may count from 0 .2 is positive. or from 1 .2 is neutral."),
        (["1", "2", "3"], MOODS, "not the positions 0 to 2, but may count from 1 .1 is negative, 2 is neutral"),
        (["1.0", "2.0", "3.0"], DEFAULT, "not the positions 0 to 2, but may count from 1"),
        (["0", "1"], MOODS, "may be positions .0 is negative, 1 is neutral., but no row has the last one, 2"),
        (["0"], ("no", "yes"), "may be positions .0 is no., but no row has the last one, 1"),
        (["-1", "1"], ("no", "yes"), "labels -1, 1 .* which of no, yes they mean; they are not the positions 0 to 1"),
        (["-1", "0", "1"], MOODS, "not the positions 0 to 2"),
        (["9", "10"], ("no", "yes"), "labels 9, 10 in column 'label'"),
        (["1", "2", "3"], STARS, "may count from 0 .1 is 2 stars"),
        (["0", "1"], ("true", "false"), "the numbers in these names are not their positions"),
        (["0", "1"], ("LABEL_1", "LABEL_0"), "the numbers in these names are not their positions"),
        (
            ["neg", "pos"],
            ("LABEL_0", "LABEL_1"),
            "has the classes neg, pos, .* only the default names LABEL_0, LABEL_1",
        ),
        (["True", "False"], ("LABEL_0", "LABEL_1"), "has the classes False, True"),
        (["01", "02"], ("LABEL_0", "LABEL_1"), "has the classes 01, 02"),
        (["true", "false"], ("0", "1"), "label 'false' .* is not one of 0, 1; nor are true"),
        (["contradictory", "neutral"], ("contradiction", "neutral"), "label 'contradictory' .* contradiction, neutral"),
        (["A-", "B"], ("A", "B"), "label 'A-' .* is not one of A, B"),
        (["-1"], ("1", "0"), "label '-1'|labels -1"),
        (["POS"], ("pos", "Pos"), "label 'POS' .* is not one of pos, Pos"),
        (["3"], ("0", "1", "2"), "do not say which|is not one of"),
        (["x", "y", *map(str, range(20))], INTENTS, "; nor are .*, \\.\\.\\. y"),
    ],
)
def test_a_guess_is_refused_with_the_option_that_helps(labels, names, message):
    with pytest.raises(UserError, match=message) as error:
        read(labels, names)
    (problem,) = error.value.problems
    assert problem.option == "labels" and "\n" not in problem.text and len(problem.text) < 500
    assert problem.text.startswith("t.csv: ")


def test_positions_of_many_classes_are_reported_in_short():
    labels = [str(index) for index in range(77)]
    outputs, (remark,) = read(labels, INTENTS)
    assert outputs == list(range(77)) and remark.startswith("labels 0 to 76 are positions: 0 is intent aa, ")
    assert remark.endswith(", ... 76 is intent cy") and len(remark) < 200


def test_integers_mean_the_names_that_a_user_gave_in_their_order():
    assert read(["1", "2", "3"], MOODS, in_order_of_integers=True)[0] == [0, 1, 2]
    assert read(["1", "-1"], ("no", "yes"), in_order_of_integers=True)[0] == [1, 0]
    with pytest.raises(UserError, match="may count from 0"):
        read(["1", "2"], MOODS, in_order_of_integers=True)


def test_known_positions_need_not_be_complete():
    assert read(["1"], MOODS, by_position=True)[0] == [1]
    with pytest.raises(UserError, match="label '-1' in column 'label' is not one of 0, 1, 2"):
        read(["-1", "0"], MOODS, by_position=True)


@given(
    st.lists(st.sampled_from([*map(str, range(-1, 5)), "0.0", "1.0", "a", "A", "b", "True"]), min_size=1, max_size=5),
    st.lists(st.sampled_from(["a", "b", "A", "0", "1", "2", "true", "LABEL_0"]), min_size=2, max_size=4, unique=True),
)
def test_labels_that_are_names_are_those_names_and_others_differ(labels, names):
    """An exact name means its own output in every reading by name, and two labels share an output only if alike."""
    try:
        outputs, remarks = read(labels, tuple(names))
    except UserError:
        return
    for label, output in zip(labels, outputs, strict=True):
        assert names[output] == label or remarks
    for one, first in zip(labels, outputs, strict=True):
        for other, second in zip(labels, outputs, strict=True):
            assert first != second or comparable(one) == comparable(other)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (("a", "b"), DEFAULT, "got 2 labels .a, b.; expected 3, one for each output .LABEL_0, LABEL_1, LABEL_2."),
        (("a", "a", "b"), DEFAULT, "'a' is given for two outputs"),
        (("positive", "neutral", "negative"), MOODS, "'positive' for output 0, which the model calls 'negative'"),
        (("neutral", "neg", "pos"), MOODS, "'neutral' for output 0, which the model calls 'negative'"),
    ],
)
def test_given_labels_that_contradict_the_model_are_refused(labels, names, message):
    with pytest.raises(UserError, match=message):
        check_table_labels(labels, names, model="m")


def test_given_labels_may_be_integers_beside_names_that_are_integers():
    check_table_labels(("0", "1", "2"), ("1", "2", "3"), model="m")
    check_table_labels(("neg", "neutral", "pos"), MOODS, model="m")


# -- columns


def column(*cells) -> pd.Series:
    return pd.Series([str(cell) for cell in cells], name="label")


def test_whole_numbers_are_integers_in_every_split():
    assert label_names_of(column("1.0", "0.0", "10.0"), where="t") == ["0", "1", "10"]
    assert label_names_of(column("1.0", "0.5"), where="t") == ["0.5", "1.0"]
    assert label_names_of(column("01", "2"), where="t") == ["01", "2"]
    assert label_names_of(column("9" * 5000, "1"), where="t") == ["1", "9" * 5000]
    assert label_indices_of({"train": column("1")}, ("n" + "9" * 5000, "1"), by_position=False, where="t")["train"] == 1
    splits = {"train": column("0.0", "1.0"), "dev": column("1", "0"), "test": column("1.00")}
    labels = label_indices_of(splits, ("0", "1"), by_position=False, where="t")
    assert [labels[split].tolist() for split in splits] == [[0, 1], [1, 0], [1]]


@pytest.mark.parametrize(
    ("cells", "caution"),
    [
        (["Pos", "pos", "neg"] * 9, "'Pos' and 'pos' differ only in spelling"),
        (["1", "1.0", "other"] * 9, "'1' and '1.0' differ only in spelling"),
        (["nan", "de"] * 9, "nan is read as a class, not as a missing label"),
        (["None", "toxic"] * 9, "None is read as a class"),
        ([f"c{index}" for index in range(77)] * 3, "77 classes in 231 rows, 3 rows per class"),
    ],
)
def test_classes_that_may_be_a_mistake_give_a_caution(cells, caution):
    remarks = []
    label_names_of(column(*cells), where="t", remarks=remarks)
    (line,) = remarks
    assert line.startswith("caution: ") and caution in line
    label_names_of(column(*["a", "b"] * 9), where="t", remarks=(none := []))
    assert none == []


def test_a_column_of_different_texts_holds_no_classes():
    assert can_be_classes(77, 231) and can_be_classes(20, 20) and can_be_classes(50, 100)
    assert not can_be_classes(51, 100) and not can_be_classes(21, 30)
    with pytest.raises(UserError, match="60 different labels in 60 rows"):
        label_names_of(column(*range(60)), where="t")


@pytest.mark.parametrize("cell", ["1_000", "True", "0,5", "1.2.3", "inf", "", "None"])
def test_values_are_numbers_as_people_write_them(cell):
    with pytest.raises(UserError, match="compares numbers"):
        label_values_of({"train": column("1.5", cell)}, where="t")


# -- tables


def test_a_table_that_lacks_classes_is_read_by_name_and_reported(tmp_path):
    path = write_csv(tmp_path / "t.csv", ("text", "label"), [("a", "Positive"), ("b", "Positive")])
    remarks = []
    split = read_split(path, text=["text"], label="label", labels=MOODS, task_type="classification", remarks=remarks)
    np.testing.assert_array_equal(split.labels, [2, 2])
    assert any("Positive is positive" in line for line in remarks)
    assert "t.csv: no row has the label negative, neutral" in remarks


def test_the_splits_of_a_task_are_read_together(tmp_path):
    """Dev lacks the first and the last position, which train has."""
    for name, labels in (("train", ["0.0", "1.0", "2.0"] * 9), ("dev", ["1"] * 4), ("test", ["1", "2"] * 2)):
        lines = [(f"{name} {index}", label) for index, label in enumerate(labels)]
        write_csv(tmp_path / f"{name}.csv", ("text", "label"), lines)
    task = load_task(name="t", data=tmp_path, text=["text"], label="label", labels=MOODS)
    assert task.dev.labels.tolist() == [1, 1, 1, 1] and task.test.labels.tolist() == [1, 2, 1, 2]
    assert any("0.0 is negative" in remark for remark in task.remarks)
    unnamed = load_task(name="t", data=tmp_path, text=["text"], label="label")
    assert unnamed.labels == ("0", "1", "2") and unnamed.label_order == "integers"


def test_many_classes_are_accepted_with_a_caution(tmp_path):
    lines = [(f"{text} {index}", f"intent {index % 77}") for index, (text, _) in enumerate(rows(231))]
    task = load_task(
        name="t", data=write_csv(tmp_path / "b.csv", ("text", "label"), lines), text=["text"], label="label"
    )
    assert len(task.labels) == 77
    assert any("77 classes in 231 rows" in remark for remark in task.remarks)
