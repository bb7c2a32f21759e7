"""Which files `pocketbert new` uses, and what it calls the recipe."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from compress.common.errors import UserError
from pocketbert.new_recipe.propose import propose_recipe
from pocketbert.recipe.loading import load_recipe
from tiny_bert import rows, write_csv


def folder(root: Path, *names: str) -> Path:
    """A folder with a labelled table of each name. Their rows differ."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        write_csv(root / name, ("text", "label"), rows(40, seed))
    return root


def new(path: Path, teacher: Path):
    """The proposal for a table, and its recipe as it loads."""
    proposal = propose_recipe(path, teacher=str(teacher))
    recipe_file = teacher.parent / "r.yaml"
    recipe_file.write_text(proposal.recipe, encoding="utf-8")
    return proposal, load_recipe(str(recipe_file))


@pytest.mark.parametrize("given", [".", "train.csv", "validation.csv"])
def test_a_split_with_siblings_means_their_folder(tmp_path, monkeypatch, base_folder, given):
    monkeypatch.chdir(folder(tmp_path / "films", "train.csv", "validation.csv", "test.csv"))
    proposal, recipe = new(Path(given), base_folder)
    assert (recipe.name, recipe.task.data, proposal.name) == ("films", ".", "films")
    assert any(fact.startswith("40 train rows, 40 dev, 40 test rows") for fact in proposal.table_facts)
    assert any("several splits" in fact for fact in proposal.table_facts) == (given != ".")


def test_a_table_with_another_name_is_read_alone(tmp_path, base_folder):
    place = folder(tmp_path / "films", "reviews.csv", "dev.csv", "test.csv")
    _, recipe = new(place / "reviews.csv", base_folder)
    assert (recipe.name, recipe.task.data) == ("reviews", str(place / "reviews.csv"))


def test_siblings_of_other_formats_are_read(tmp_path, base_folder):
    place = folder(tmp_path / "films", "train.csv")
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows(40, 5)]
    (place / "VALID.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    pd.DataFrame(rows(40, 6), columns=["text", "label"]).to_parquet(place / "testing.parquet")
    proposal, recipe = new(place / "train.csv", base_folder)
    assert recipe.task.data == str(place)
    assert {"dev: JSON lines, UTF-8, gzip", "test: Parquet"} <= set(proposal.table_facts)


def test_of_two_candidates_the_one_of_the_same_format_is_used_and_named(tmp_path, base_folder):
    place = folder(tmp_path / "films", "train.csv", "training.tsv.gz", "dev.csv", "val.xlsx")
    proposal, recipe = new(place / "train.csv", base_folder)
    assert recipe.task.splits == {"train": "train.csv", "dev": "dev.csv"}
    assert "dev: dev.csv; val.xlsx could be it too, but is not used" in proposal.table_facts


def test_a_dev_file_without_labels_leaves_the_named_file_alone(tmp_path, base_folder):
    place = folder(tmp_path / "films", "train.csv")
    write_csv(place / "dev.csv", ("text",), [(text,) for text, _ in rows(9, 3)])
    proposal, recipe = new(place / "train.csv", base_folder)
    assert (recipe.name, recipe.task.data) == ("films", str(place / "train.csv"))
    assert "train.csv: only this file is used, because the dev file beside it has no labels" in proposal.table_facts
    assert "train.csv: comma-separated, header, UTF-8" in proposal.table_facts
    with pytest.raises(UserError, match=r"\(dev\): no column 'label'"):
        new(place, base_folder)


@pytest.mark.parametrize(
    ("place", "file", "name"),
    [
        ("films", "train.csv", "films"),
        ("films/train", "train.csv", "films"),
        ("films", "train-00000-of-00001.csv", "films"),
        ("films", "my films.csv", "my-films"),
        ("\u0444\u0438\u043b\u044c\u043c\u044b", "dev.csv", "my-task"),
    ],
)
def test_no_recipe_is_named_after_a_split(tmp_path, base_folder, place, file, name):
    _, recipe = new(folder(tmp_path / place, file) / file, base_folder)
    assert recipe.name == name


def test_a_copy_of_a_hub_data_set_is_read(tmp_path, base_folder):
    place = tmp_path / "clone"
    (place / "data").mkdir(parents=True)
    table = pd.DataFrame(rows(40), columns=["text", "label"])
    table.to_parquet(place / "data" / "train-00000-of-00001.parquet")
    _, recipe = new(place, base_folder)
    assert (recipe.name, recipe.task.data, recipe.task.subset) == ("clone", str(place), "default")


BAD = {
    "empty": ([], "the folder is empty"),
    "no table": (["README.md"], "it has no table at all"),
    "only test": (["test.csv"], "it has test.csv; rename the one to train on, or name its path"),
    "two train files": (["train.csv", "training.tsv"], "train.csv and training.tsv could both be the train split"),
    "a run": (["manifest.json", "recipe.yaml"], "it is the folder of a run; name the data instead"),
    "nested": (["v1/train.csv"], "name a folder in it that has one: "),
    "a folder per class": (["neg/1.txt", "pos/1.txt"], "a folder of text files per class (neg, pos) is not read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_folder_that_cannot_be_read_is_explained_in_one_line(tmp_path, base_folder, case):
    names, message = BAD[case]
    place = tmp_path / "data"
    place.mkdir()
    for name in names:
        (place / name).parent.mkdir(exist_ok=True)
        write_csv(place / name, ("text", "label"), rows(20))
    with pytest.raises(UserError) as error:
        propose_recipe(place, teacher=str(base_folder))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(str(place))


def test_splits_that_contradict_train_are_refused_in_one_line(tmp_path, base_folder):
    for number, (header, lines, message) in enumerate(
        [
            (("sentence", "y"), rows(9), "(dev): no column 'text'; it has sentence, y"),
            (("text", "label"), [("a text", "neutral")], "(dev): label 'neutral' in column 'label' is not one of"),
        ]
    ):
        place = folder(tmp_path / str(number), "train.csv")
        write_csv(place / "dev.csv", header, lines)
        with pytest.raises(UserError) as error:
            propose_recipe(place, teacher=str(base_folder))
        assert message in str(error.value) and "\n" not in str(error.value)
    place = folder(tmp_path / "empty", "dev.csv")
    (place / "train.csv").write_text("")
    with pytest.raises(UserError, match=r"train\.csv: the table has no rows"):
        propose_recipe(place, teacher=str(base_folder))
