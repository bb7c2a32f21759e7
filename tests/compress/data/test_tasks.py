from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from compress.common.errors import UserError
from compress.data.label_order import align_labels
from compress.data.tasks import load_task
from compress.tables.splits import read_hub
from tiny_bert import in_a_recipe, rows, write_csv


def load(path, **options):
    return load_task(name="t", data=path, text=["text"], label="label", **options)


def test_a_small_file_is_split_and_marked_as_selected_on_test(reviews):
    task = load(reviews)
    assert (len(task.train), len(task.dev), task.test is task.dev) == (320, 80, True)
    assert task.selected_on_test
    assert task.labels == ("negative", "positive")
    assert not set(task.train.texts) & set(task.dev.texts)


def test_a_dev_split_of_a_thousand_rows_is_divided_into_dev_and_test(tmp_path):
    task = load(write_csv(tmp_path / "many.csv", ("text", "label"), rows(6000)))
    assert (len(task.train), len(task.dev), len(task.test)) == (4800, 600, 600)
    assert not task.selected_on_test
    assert len({*task.train.texts, *task.dev.texts, *task.test.texts}) == 6000


def test_splits_depend_only_on_the_seed(reviews):
    assert load(reviews).fingerprint() == load(reviews).fingerprint() != load(reviews, seed=1).fingerprint()


def test_duplicates_are_removed_before_the_split_and_counted(tmp_path):
    unique = rows(200)
    task = load(write_csv(tmp_path / "twice.csv", ("text", "label"), [*unique, *unique[:30]]))
    assert len(task.train) + len(task.dev) == 200
    assert "30 duplicate rows of train removed" in task.remarks


def test_texts_with_contradictory_labels_are_counted(tmp_path):
    unique = rows(200)
    other = [(text, "positive" if label == "negative" else "negative") for text, label in unique[:7]]
    task = load(write_csv(tmp_path / "twice.csv", ("text", "label"), [*unique, *unique[:30], *other]))
    assert "37 duplicate rows of train removed; 7 texts have different labels, and the first counts" in task.remarks


def test_train_rows_that_are_also_in_dev_are_removed_from_train_only(tmp_path):
    unique = rows(200)
    write_csv(tmp_path / "train.csv", ("text", "label"), unique)
    write_csv(tmp_path / "dev.csv", ("text", "label"), unique[:20])
    task = load(tmp_path)
    assert (len(task.train), len(task.dev)) == (180, 20)
    assert any("20 rows of train removed" in remark for remark in task.remarks)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_reads_the_same(tmp_path, suffix):
    import pandas as pd

    lines = [*rows(60), ("NA", "positive"), ("1.0", "negative")]
    table = pd.DataFrame(lines, columns=["text", "label"])
    path = tmp_path / f"data.{suffix}"
    match suffix:
        case "csv":
            table.to_csv(path, index=False)
        case "tsv":
            table.to_csv(path, sep="\t", index=False)
        case "jsonl":
            table.to_json(path, orient="records", lines=True)
        case "parquet":
            table.to_parquet(path)
    task = load(path)
    assert {"NA", "1.0"} <= {*task.train.texts, *task.dev.texts}
    assert len(task.train) + len(task.dev) == 62


def test_another_encoding_is_read_if_named_and_refused_otherwise(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes(b"text,label\n" + "".join(f"caf\xe9 {i},{i % 2}\n" for i in range(40)).encode("latin-1"))
    assert any("caf\xe9" in text for text in load(path, encoding="latin-1").train.texts)
    with pytest.raises(
        UserError, match=r"latin\.csv: not utf-8 text \(.* at byte 14\); .* reads 'caf\xe9 0,0' in cp125"
    ) as error:
        load(path)
    assert in_a_recipe(error.value).endswith("; name the right encoding, such as cp1252, as task.encoding")


def test_integer_labels_get_the_names_in_order(tmp_path):
    lines = [(text, (label == "positive" and 1) or 0) for text, label in rows(50)]
    path = write_csv(tmp_path / "ints.csv", ("text", "label"), lines)
    assert load(path).labels == ("0", "1")
    named = load(path, labels=["bad", "good"])
    assert named.labels == ("bad", "good")
    np.testing.assert_array_equal(named.train.labels, load(path).train.labels)


def test_labels_are_reordered_to_the_teachers_by_name(reviews):
    task = load(reviews)
    aligned = align_labels(task, ("positive", "negative"))
    assert aligned.labels == ("positive", "negative")
    np.testing.assert_array_equal(aligned.dev.labels, 1 - task.dev.labels)


def test_a_teacher_without_label_names_needs_an_order_from_the_user_or_from_integers(reviews, tmp_path):
    default = ("LABEL_0", "LABEL_1")
    with pytest.raises(UserError, match=r"classes negative, positive, but .* only the default names LABEL_0") as error:
        align_labels(load(reviews), default)
    assert "; name the classes of the data in task.labels, in the order of" in in_a_recipe(error.value)
    task = load(reviews, labels=["positive", "negative"])
    aligned = align_labels(task, default)
    assert aligned.labels == ("positive", "negative") and aligned.train is task.train
    assert aligned.remarks[-1] == "labels are the teacher's outputs in order: positive is LABEL_0, negative is LABEL_1"
    integers = write_csv(tmp_path / "ints.csv", ("text", "label"), [(text, len(text) % 2) for text, _ in rows(60)])
    assert align_labels(load(integers), default).labels == ("0", "1")


@pytest.mark.parametrize("names", [("good", "bad"), ("negative", "neutral", "positive"), ("LABEL_0",)])
def test_a_teacher_with_other_labels_is_refused(reviews, names):
    with pytest.raises(UserError, match="teacher and data disagree on the labels"):
        align_labels(load(reviews), names)


def test_integer_labels_do_not_match_a_teacher_with_names(tmp_path):
    path = write_csv(tmp_path / "ints.csv", ("text", "label"), [(text, 0) for text, _ in rows(30)] + [("x", 1)])
    with pytest.raises(UserError, match=r"the teacher has negative, positive; the data 0, 1$") as error:
        align_labels(load(path), ("negative", "positive"))
    assert "; name the classes of the data in task.labels" in in_a_recipe(error.value)


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        (("text", "label"), [], "no rows"),
        (("body", "label"), rows(20), "no column 'text'; it has body, label"),
        (("text", "label"), [(text, "same") for text, _ in rows(20)], "holds 1 class"),
        (("text", "label"), [("", "a"), ("b", "b")], "empty in 1 rows, first in row 1"),
        (("text", "label", "text2"), [(text, "a", text) for text, _ in rows(20)], "holds 1 class"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, header, lines, message):
    with pytest.raises(UserError, match=message) as error:
        load(write_csv(tmp_path / "bad.csv", header, lines))
    assert "\n" not in str(error.value) and "bad.csv" in str(error.value)


def test_integer_classes_are_sorted_by_value(tmp_path):
    stars = [(text, (10, 2, -1)[index % 3]) for index, (text, _) in enumerate(rows(30))]
    assert load(write_csv(tmp_path / "stars.csv", ("text", "label"), stars)).labels == ("-1", "2", "10")


def folder(tmp_path: Path, **splits: list[tuple[str, object]]) -> Path:
    for name, lines in splits.items():
        write_csv(tmp_path / f"{name}.csv", ("text", "label"), lines)
    return tmp_path


def numbered(values: Sequence[object], prefix: str) -> list[tuple[str, object]]:
    return [(f"{prefix} text {index}", value) for index, value in enumerate(values)]


def test_all_splits_together_decide_between_names_and_indices(tmp_path):
    """A test split with only 1 and 2 is not read as names if train has indices."""
    data = folder(
        tmp_path, train=numbered([0, 1, 2] * 9, "a"), dev=numbered([0, 1, 2], "b"), test=numbered([1, 2], "c")
    )
    assert load(data, labels=["1", "2", "3"]).test.labels.tolist() == [1, 2]


def test_a_file_named_for_one_split_is_no_other_split(tmp_path):
    """With the dev file as test, dev rows come from train: scores never are from rows that chose the student."""
    data = folder(tmp_path, train=rows(200), dev=numbered(["negative", "positive"] * 9, "b"))
    task = load(data, splits={"test": "./dev.csv"})
    assert set(task.test.texts) == {f"b text {index}" for index in range(18)} and not task.selected_on_test
    assert not {*task.dev.texts} & {*task.test.texts} and {*task.dev.texts} <= {text for text, _ in rows(200)}
    for splits in ({"dev": "dev.csv", "test": "./dev.csv"}, {"train": "dev.csv", "dev": "dev.csv"}):
        with pytest.raises(UserError, match=r"are both 'dev\.csv'; leave one of them out"):
            load(data, splits=splits)


def test_test_rows_that_are_also_in_dev_give_a_remark(tmp_path):
    shared = numbered(["negative", "positive"] * 9, "b")
    data = folder(tmp_path, train=rows(60), dev=shared, test=[*shared[:5], *numbered(["negative", "positive"], "c")])
    [remark] = [line for line in load(data).remarks if "also in dev" in line]
    assert remark.startswith("5 of 7 rows of test are also in dev, which selects checkpoints")


def test_the_error_names_the_unknown_label(tmp_path):
    data = folder(tmp_path, train=numbered(["neg", "pos"] * 9, "a"), dev=numbered(["neg", "pos", "zzz"], "b"))
    with pytest.raises(UserError, match=r"\(dev\): label 'zzz' in column 'label' is not one of neg, pos"):
        load(data)


def test_a_class_that_only_dev_has_is_refused(tmp_path):
    data = folder(tmp_path, train=numbered(["neg", "pos"] * 9, "a"), dev=numbered(["neg", "odd"], "b"))
    with pytest.raises(UserError, match="dev has the label 'odd', but no row of train does"):
        load(data, labels=["neg", "pos", "odd"])


@pytest.mark.parametrize("seed", range(8))
def test_train_keeps_a_rare_class(tmp_path, seed):
    lines = [*numbered(["common"] * 60, "a"), *numbered(["rare"], "b")]
    path = write_csv(tmp_path / "rare.csv", ("text", "label"), lines)
    for options in ({}, {"max_rows": 20}):
        task = load(path, seed=seed, **options)
        assert set(task.train.labels.tolist()) == {0, 1} and len(task.dev) >= 3


def test_a_label_without_rows_gives_a_remark(tmp_path):
    path = write_csv(tmp_path / "two.csv", ("text", "label"), rows(40))
    task = load(path, labels=["negative", "positive", "neutral"])
    assert "no row has the label neutral: it can't be learned" in task.remarks


def test_a_missing_file_and_an_unknown_suffix_are_refused(tmp_path):
    with pytest.raises(UserError, match="neither a file nor a folder"):
        load(tmp_path / "nothing.csv")
    (tmp_path / "data.feather").write_text("x")
    with pytest.raises(UserError, match=r"cannot read \.feather"):
        load(tmp_path / "data.feather")


def test_the_class_names_of_a_hub_data_set_are_read_in_order(tmp_path):
    """The folder has the layout of the Hub, and its validation split becomes dev."""
    import datasets

    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["unacceptable", "acceptable"])}
    )
    for split, count, hidden in (("train", 60, False), ("validation", 20, False), ("test", 20, True)):
        lines = rows(count, seed=count)
        labels = [-1 if hidden else int(label == "positive") for _, label in lines]
        table = datasets.Dataset.from_dict(
            {"sentence": [text for text, _ in lines], "label": labels}, features=features
        )
        table.to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    splits, classes = read_hub(str(tmp_path), None, {})
    assert {split: len(table) for split, table in splits.items()} == {"train": 60, "dev": 20, "test": 20}
    assert classes == {"label": ["unacceptable", "acceptable"]}
    assert {*read_hub(str(tmp_path), None, {"test": "validation"})[0]} == {"train", "test"}
    with pytest.raises(UserError, match="dev and test are both 'validation'"):
        read_hub(str(tmp_path), None, {"dev": "validation", "test": "validation"})
    with pytest.raises(UserError, match="has no split 'dev2'; it has train, validation, test"):
        read_hub(str(tmp_path), None, {"dev": "dev2"})
    with pytest.raises(UserError, match="could not be loaded"):
        read_hub("nobody/nothing", None, {})
