"""The values that a recipe leaves to `auto`."""

import numpy as np
import pytest

from compress.data.columns import Split
from compress.data.tasks import Task
from compress.results import SearchPoint, SearchResult
from pocketbert.recipe.choices import resolve
from pocketbert.recipe.loading import load_recipe, to_yaml
from pocketbert.recipe.training import StageSection
from tiny_recipes import write_recipe


def task(num_train: int, num_dev: int, num_classes: int = 2) -> Task:
    def split(count: int) -> Split:
        labels = np.arange(count) % num_classes
        return Split(texts=[f"text {number}" for number in range(count)], pairs=None, labels=labels)

    labels = tuple(f"class {index}" for index in range(num_classes))
    return Task(
        name="x", type="classification", labels=labels, train=split(num_train), dev=split(num_dev), test=split(num_dev),
        max_length=32,
    )  # fmt: skip


@pytest.fixture
def recipe(tmp_path, base_folder):
    def make(**sections: dict[str, object]):
        changes = {
            "teacher": {"base": str(base_folder), "fine_tune": "auto"},
            "distill": {"intermediate": {}, "prediction": {}},
            **sections,
        }
        return load_recipe(write_recipe(tmp_path, tmp_path / "data.csv", **changes))

    return make


def open_keys(recipe) -> list[str]:
    sections = {
        "teacher.fine_tune": recipe.teacher.fine_tune,
        "distill.general": recipe.distill.general,
        "distill.intermediate": recipe.distill.intermediate,
        "distill.prediction": recipe.distill.prediction,
    }
    return [
        f"{name}.{key}"
        for name, section in sections.items()
        if section is not None
        for key in ("epochs", "batch_size", "learning_rate")
        if getattr(section, key) is None
    ]


def test_a_recipe_without_any_schedule_is_completed(recipe):
    written = recipe(distill={"general": {"corpus": "task"}, "intermediate": {}, "prediction": {}})
    assert len(open_keys(written)) >= 7
    resolved = resolve(written, task(5000, 700, 7))
    assert resolved.recipe.teacher.needs_search and open_keys(resolved.recipe) == ["teacher.fine_tune.learning_rate"]
    assert resolved.recipe.teacher.fine_tune.search.learning_rate == [3e-5, 1e-4, 3e-4]
    choices = {choice.key: choice for choice in resolved.choices}
    by_rule = set(open_keys(written)) - {"teacher.fine_tune.learning_rate"}
    assert set(choices) == {*by_rule, "distill.intermediate.decay"}
    assert choices["teacher.fine_tune.epochs"].value == "5"
    assert "785 steps for 5,000 rows and 7 classes" in choices["teacher.fine_tune.epochs"].reason
    assert all(choice.reason for choice in resolved.choices)


def test_the_search_fills_in_the_rest_and_the_result_reads_back_without_a_search(recipe, tmp_path):
    resolved = resolve(recipe(), task(5000, 700, 7))
    point = SearchPoint(learning_rate=3e-4, batch_size=32, num_steps=98, dev_score=0.9)
    done = resolved.after_search(SearchResult(points=[point], learning_rate=3e-4, batch_size=32))
    assert not done.recipe.teacher.needs_search and open_keys(done.recipe) == []
    assert (done.choices[-1].key, done.choices[-1].value) == ("teacher.fine_tune.learning_rate", "0.0003")
    (tmp_path / "resolved.yaml").write_text(to_yaml(done.recipe), encoding="utf-8")
    again = resolve(load_recipe(str(tmp_path / "resolved.yaml")), task(5000, 700, 7))
    assert again.recipe == done.recipe and again.choices == [] and not again.recipe.teacher.needs_search


def test_keys_of_the_recipe_win(recipe, base_folder):
    fine_tune = {"epochs": 2, "batch_size": 8, "learning_rate": 5e-5}
    written = recipe(
        teacher={"base": str(base_folder), "fine_tune": fine_tune},
        distill={"intermediate": {"epochs": 1, "learning_rate": 1e-5}, "prediction": {"epochs": 1}},
    )
    resolved = resolve(written, task(5000, 700))
    assert not resolved.recipe.teacher.needs_search
    section = resolved.recipe.teacher.fine_tune
    assert {key: getattr(section, key) for key in fine_tune} == fine_tune and section.patience is None
    assert [choice.key for choice in resolved.choices] == ["distill.prediction.learning_rate"]


@pytest.mark.parametrize("num_dev", [199, 12])
def test_few_dev_rows_get_the_usual_rate_instead_of_a_search(recipe, num_dev):
    resolved = resolve(recipe(), task(900, num_dev))
    assert not resolved.recipe.teacher.needs_search and resolved.recipe.teacher.fine_tune.learning_rate == 1e-4
    (choice,) = [each for each in resolved.choices if each.key == "teacher.fine_tune.learning_rate"]
    assert f"a search needs 200 dev rows, and there are {num_dev}" in choice.reason


def test_a_fine_tuned_teacher_needs_no_schedule(recipe, teacher_folder):
    resolved = resolve(recipe(teacher={"model": str(teacher_folder), "fine_tune": "auto"}), task(5000, 700))
    assert not resolved.recipe.teacher.needs_search
    assert all(choice.key.startswith("distill.") for choice in resolved.choices)


def test_a_listed_search_wins_over_the_usual_rates_and_max_steps_is_a_budget(recipe, base_folder):
    fine_tune = {"search": {"learning_rate": [1e-4, 2e-4], "batch_size": [8, 16]}, "max_steps": 100}
    resolved = resolve(recipe(teacher={"base": str(base_folder), "fine_tune": fine_tune}), task(5000, 700))
    section = resolved.recipe.teacher.fine_tune
    assert resolved.recipe.teacher.needs_search and section.search.learning_rate == [1e-4, 2e-4]
    (epochs,) = [each for each in resolved.choices if each.key == "teacher.fine_tune.epochs"]
    assert epochs.reason.startswith("100 of 785 steps for 5,000 rows and 2 classes, because of max_steps; stops after")


def test_auto_is_the_same_as_leaving_the_key_out(recipe, base_folder):
    left_out = recipe()
    auto = dict.fromkeys(("epochs", "learning_rate"), "auto")
    written = recipe(
        teacher={"base": str(base_folder), "fine_tune": {**auto, "batch_size": "auto"}},
        distill={"intermediate": auto, "prediction": auto},
    )
    assert written == left_out
    dumped = left_out.model_dump()
    assert dumped["teacher"]["fine_tune"]["learning_rate"] == dumped["distill"]["prediction"]["epochs"] == "auto"


def test_every_stage_section_accepts_auto():
    def below(section: type[StageSection]) -> set[type[StageSection]]:
        return {section}.union(*map(below, section.__subclasses__()))

    sections = below(StageSection)
    assert len(sections) >= 7
    for section in sections:
        for key in ("epochs", "batch_size", "learning_rate"):
            schema = section.model_json_schema()["properties"][key]
            assert {"const": "auto"} in schema["anyOf"], (section, key)


def test_set_reaches_a_key_below_auto(recipe, tmp_path):
    recipe()
    changed = load_recipe(str(tmp_path / "tiny.yaml"), changes=["teacher.fine_tune.epochs=3"])
    assert (changed.teacher.fine_tune.epochs, changed.teacher.fine_tune.learning_rate) == (3, None)
