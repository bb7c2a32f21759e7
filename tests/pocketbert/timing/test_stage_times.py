"""Every stage has an estimate, which grows with its work."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from compress.distillation.successive_halving import num_search_steps
from pocketbert.pipeline.plan import StageName
from pocketbert.recipe.loading import load_recipe
from pocketbert.recipe.sections import Recipe
from pocketbert.timing.amounts import Sizes, Speeds, num_stage_steps
from pocketbert.timing.stage_times import stage_time
from pocketbert.timing.step_cost import ForwardCost, StepCost
from tiny_recipes import write_recipe

KNOWN = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3}
STEP = StepCost(fixed_s=0.0, per_token_s=1e-3, timed_rows=64, proportional_s=1e-3)
SPEEDS = Speeds(
    steps=dict.fromkeys(("teacher", "general", "masked_lm", "intermediate", "prediction"), STEP),
    teacher=ForwardCost(single_s=0.02, per_token_s=3e-4),
    student=ForwardCost(single_s=0.005, per_token_s=1e-4),
)
SIZES = Sizes(
    num_train=400,
    num_dev=100,
    num_test=100,
    num_labels=2,
    takes_pairs=False,
    lengths=np.full(400, 10),
    teacher_weights=1000,
    student_weights=500,
    num_blocks={"general": 50, "masked_lm": 50},
)


@pytest.fixture
def recipe(base_folder: Path, reviews: Path, tmp_path: Path) -> Recipe:
    corpus = {"corpus": "task", "max_length": 16}
    search = {"learning_rate": [1e-3, 2e-3, 3e-3, 4e-3]}
    path = write_recipe(
        tmp_path,
        reviews,
        teacher={"base": str(base_folder), "fine_tune": {**KNOWN, "search": search}},
        distill={"general": {**KNOWN, **corpus}, "intermediate": KNOWN, "prediction": KNOWN},
        augment={"copies_per_text": 2, "masked_lm": {"train_head": {**KNOWN, **corpus}}},
    )
    return load_recipe(path)


def with_fine_tune(recipe: Recipe, **values: object) -> Recipe:
    fine_tune = recipe.teacher.fine_tune.model_copy(update=values)
    return recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"fine_tune": fine_tune})})


@pytest.mark.parametrize("stage", get_args(StageName))
def test_every_stage_has_an_estimate_and_a_larger_maximum(recipe, stage):
    estimate = stage_time(stage, recipe, SIZES, SPEEDS)
    assert 0 < estimate.expected_s < estimate.maximum_s <= 3 * estimate.expected_s


@pytest.mark.parametrize("stage", get_args(StageName))
def test_no_estimate_shrinks_if_the_table_grows(recipe, stage):
    larger = replace(SIZES, num_train=800, num_dev=200, num_test=200, num_blocks={"general": 90, "masked_lm": 90})
    estimates = [stage_time(stage, recipe, sizes, SPEEDS).expected_s for sizes in (SIZES, larger)]
    assert estimates[0] < estimates[1]


def test_all_epochs_count_and_max_steps_limits_them(recipe):
    assert num_stage_steps("teacher", with_fine_tune(recipe, search=None), SIZES) == 150
    assert num_stage_steps("intermediate", recipe, SIZES) == 450  # with two augmented copies of each text
    limited = recipe.distill.intermediate.model_copy(update={"max_steps": 7})
    recipe = recipe.model_copy(update={"distill": recipe.distill.model_copy(update={"intermediate": limited})})
    assert num_stage_steps("intermediate", recipe, SIZES) == 7


def test_a_search_counts_all_its_trainings_and_the_teacher_no_more(recipe):
    assert num_stage_steps("search", recipe, SIZES) == num_search_steps(4, 150) > 300
    assert num_stage_steps("teacher", recipe, SIZES) is None
    search, teacher = (stage_time(stage, recipe, SIZES, SPEEDS).expected_s for stage in ("search", "teacher"))
    assert search > num_search_steps(4, 150) * 0.08
    assert teacher < 5


def test_a_search_over_batch_sizes_counts_the_largest(recipe):
    search = recipe.teacher.fine_tune.search.model_copy(update={"batch_size": [8, 16]})
    recipes = [with_fine_tune(recipe, search=each) for each in (recipe.teacher.fine_tune.search, search)]
    plain, wider = (stage_time("search", each, SIZES, SPEEDS).expected_s for each in recipes)
    assert wider > 2 * plain


def test_steps_before_an_interruption_do_not_count(recipe):
    recipe = with_fine_tune(recipe, search=None)
    whole = stage_time("teacher", recipe, SIZES, SPEEDS).expected_s
    rest = stage_time("teacher", recipe, replace(SIZES, steps_done={"teacher": 100}), SPEEDS).expected_s
    assert whole - rest == pytest.approx(100 * 0.08, rel=0.01)
