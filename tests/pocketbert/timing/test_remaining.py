"""The time left after a search is derived from the search's own steps."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.recipe.loading import load_recipe
from pocketbert.timing.remaining import remaining_time
from tiny_recipes import write_recipe

KNOWN = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3}


def test_the_time_left_follows_the_speed_of_the_search(base_folder: Path, reviews: Path, tmp_path: Path):
    stages = {"distill": {"intermediate": KNOWN, "prediction": KNOWN}}
    recipe = load_recipe(
        write_recipe(tmp_path, reviews, teacher={"base": str(base_folder), "fine_tune": KNOWN}, **stages)
    )
    task = load_recipe_task(recipe, Console(quiet=True))
    lengths = np.full(len(task.train), 12)

    def left(stages: list[str], seconds_per_step: float, **options: bool):
        return remaining_time(recipe, task, stages, lengths=lengths, seconds_per_step=seconds_per_step, **options)

    teacher = left(["teacher"], 1.0)
    num_steps = 3 * -(-len(task.train) // 8)
    assert num_steps < teacher.expected_s < 1.5 * num_steps + 10
    assert teacher.expected_s < teacher.maximum_s < 2.5 * teacher.expected_s
    assert left(["teacher"], 2.0).expected_s > 1.8 * teacher.expected_s
    both = left(["teacher", "intermediate"], 1.0)
    assert both.expected_s > teacher.expected_s
    assert left(["general"], 1.0).expected_s == pytest.approx(0.0)  # its corpus was not read
    assert left(["teacher"], 1.0, teacher_is_trained=True).expected_s < 0.3 * teacher.expected_s
