"""`pocketbert new --teacher`: whether the model is a base or fine-tuned, and how its labels match the table's."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from compress.common.errors import UserError
from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.new_recipe.propose import propose_recipe
from pocketbert.recipe.loading import load_recipe
from tiny_bert import rows, write_csv

TABLE_LABELS = {"negative": 0, "positive": 1}


@pytest.fixture
def proposed(tmp_path, teacher_folder):
    """Proposes a recipe for a table with these labels and a teacher with these outputs, None without names."""

    def propose(table: tuple, outputs: tuple[str, ...] | None, *, folder: Path = teacher_folder):
        model = tmp_path / "model"
        shutil.copytree(folder, model, dirs_exist_ok=True)
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        if outputs is None:
            config = {key: value for key, value in config.items() if key not in ("id2label", "label2id")}
        else:
            config["id2label"] = {str(index): name for index, name in enumerate(outputs)}
            config["label2id"] = {name: index for index, name in enumerate(outputs)}
        (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
        lines = [(text, table[TABLE_LABELS[label] if len(table) == 2 else number % len(table)])
                 for number, (text, label) in enumerate(rows(60))]  # fmt: skip
        write_csv(tmp_path / "reviews.csv", ("text", "label"), lines)
        proposal = propose_recipe(tmp_path / "reviews.csv", teacher=str(model))
        path = tmp_path / "r.yaml"
        path.write_text(proposal.recipe, encoding="utf-8")
        return proposal, load_recipe(str(path))

    return propose


@pytest.mark.parametrize(
    ("table", "outputs", "labels"),
    [
        ((0, 1), ("negative", "positive"), ["negative", "positive"]),
        (("NEGATIVE", "Positive"), ("negative", "positive"), None),
        (("negative", "positive"), ("positive", "negative"), None),
        ((0, 1), None, None),
        (("LABEL_0", "LABEL_1"), None, None),
        ((1, 2), ("1 star", "2 stars"), ["1 star", "2 stars"]),
    ],
)
def test_a_teacher_with_matching_outputs_is_used_as_it_is(proposed, table, outputs, labels):
    proposal, recipe = proposed(table, outputs)
    assert recipe.teacher.base is None and recipe.teacher.model is not None
    assert recipe.task.labels == labels
    assert any("as model, because it is fine-tuned for these labels" in fact for fact in proposal.table_facts)
    task = load_recipe_task(recipe, Console(quiet=True))
    positive = {text for text, label in rows(60) if label == "positive"}
    assert len(positive) > 10
    expected = [int((text in positive) != (outputs == ("positive", "negative"))) for text in task.train.texts]
    assert task.train.labels.tolist() == expected


@pytest.mark.parametrize(
    ("table", "outputs", "names"),
    [
        ((1, 2), ("negative", "positive"), "negative, positive"),
        ((-1, 1), ("negative", "positive"), "negative, positive"),
        (("bad", "good"), None, "bad, good"),
    ],
)
def test_an_order_that_only_the_user_knows_is_asked_for(proposed, table, outputs, names):
    proposal, recipe = proposed(table, outputs)
    (caution,) = [fact for fact in proposal.table_facts if fact.startswith("caution: ")]
    assert f"write task.labels: [{names}] to the recipe, or another order, before the run" in caution
    assert f"# labels: [{names}]" in proposal.recipe and recipe.task.labels is None
    with pytest.raises(UserError):
        load_recipe_task(recipe, Console(quiet=True))
    completed = recipe.model_copy(update={"task": recipe.task.model_copy(update={"labels": names.split(", ")})})
    assert load_recipe_task(completed, Console(quiet=True)).labels


@pytest.mark.parametrize(
    ("table", "outputs", "reason"),
    [
        (("a", "b", "c"), ("negative", "positive"), "it has 2 outputs (negative, positive), the table 3 classes"),
        (("spam", "ham"), ("negative", "positive"), "the teacher has negative, positive; the data ham, spam"),
        ((0.5, 1.25), ("negative", "positive"), "it is a classification model, the table is for regression"),
    ],
)
def test_a_classifier_for_something_else_is_a_base(proposed, table, outputs, reason):
    proposal, recipe = proposed(table, outputs)
    assert recipe.teacher.model is None and recipe.teacher.base is not None
    (fact,) = [fact for fact in proposal.table_facts if fact.startswith("teacher: ")]
    assert "as base: " in fact and reason in fact


def test_a_model_without_a_classifier_is_a_base(proposed, base_folder):
    proposal, recipe = proposed(("a", "b"), None, folder=base_folder)
    assert recipe.teacher.model is None
    assert any("as base: it has no classifier yet" in fact for fact in proposal.table_facts)


def test_the_positive_class_has_the_teachers_spelling(proposed, tmp_path, teacher_folder):
    lines = [(f"{text} {index}", "SPAM" if index % 10 == 0 else "Ham") for index, (text, _) in enumerate(rows(90))]
    write_csv(tmp_path / "mail.csv", ("text", "label"), lines)
    _, recipe = proposed((0, 1), ("spam", "ham"))
    proposal = propose_recipe(tmp_path / "mail.csv", teacher=str(recipe.teacher.model))
    path = tmp_path / "mail.yaml"
    path.write_text(proposal.recipe, encoding="utf-8")
    mail = load_recipe(str(path))
    assert (mail.task.metric, mail.task.positive) == ("f1", "spam") and mail.teacher.model is not None
