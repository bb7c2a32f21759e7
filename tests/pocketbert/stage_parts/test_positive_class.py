"""The class `task.positive` reaches every place that scores with f1."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench.analysis.scores import score_systems
from bench.results.benchmark import BenchResult
from bench.results.document import Results
from bench.timing.systems import Workload
from compress.common.errors import UserError
from compress.data.columns import Split
from compress.data.metrics import Positive, metric_name
from compress.data.task_types import task_type
from export.parity.significance import paired_difference
from export.results import ExportResult
from pocketbert.data.recipe_task import load_recipe_task
from pocketbert.pipeline.plan import plan_of
from pocketbert.recipe.sections import Recipe
from pocketbert.stage_parts.task_data import TaskData
from tiny_bert import rows, write_csv

LABELS = np.array([0, 0, 0, 1])
PREDICTIONS = np.array([0, 0, 1, 1])
OF_FIRST, OF_SECOND = 0.8, 2 / 3
FIRST = Positive(index=0, name="negative")
EXPLICIT = {"epochs": 1, "learning_rate": 1e-4, "batch_size": 8}


def recipe_with(path: Path, **task: str) -> Recipe:
    write_csv(path, ("text", "label"), rows(60))
    return Recipe.model_validate(
        {
            "name": "t",
            "task": {"data": str(path), "metric": "f1", **task},
            "teacher": {"base": "nobody/model", "fine_tune": EXPLICIT},
            "student": {"preset": "tinybert4"},
            "distill": {"intermediate": EXPLICIT, "prediction": EXPLICIT},
        }
    )


@pytest.mark.parametrize(("task", "expected"), [({}, OF_SECOND), ({"positive": "Negative"}, OF_FIRST)])
def test_a_stage_scores_the_positive_class(tmp_path, task, expected):
    recipe = recipe_with(tmp_path / "t.csv", **task)
    data = TaskData(recipe, load_recipe_task(recipe, Console(quiet=True)), tmp_path)
    split = Split(texts=list("abcd"), pairs=None, labels=LABELS)
    assert data._score(split, np.eye(2)[PREDICTIONS]) == pytest.approx(expected)


def test_a_positive_class_that_is_no_label_is_refused_when_the_data_are_read(tmp_path):
    with pytest.raises(UserError, match="'spam' is not one of the labels: negative, positive") as error:
        load_recipe_task(recipe_with(tmp_path / "t.csv", positive="spam"), Console(quiet=True))
    assert error.value.problems[0].option == "positive"


def test_parity_and_the_benchmark_score_the_positive_class():
    kind, right = task_type("classification"), LABELS
    for positive, score in ((None, OF_SECOND), (FIRST, OF_FIRST)):
        difference = paired_difference(
            "f1", LABELS, PREDICTIONS, right, task_type=kind, num_labels=2, positive=positive
        )
        assert difference.value == pytest.approx(score - 1)
        workload = Workload(texts=list("abcd"), labels=LABELS.tolist(), num_labels=2, positive=positive)
        assert score_systems({0: PREDICTIONS}, {0: "student"}, workload, "f1")[0].score == pytest.approx(score)


def test_results_name_the_positive_class():
    for kind in (Results, BenchResult, ExportResult):
        assert kind.__dataclass_fields__["positive"].default is None, "so that older files load"
    assert (metric_name("f1", "spam"), metric_name("f1", None)) == ("f1 of spam", "f1")


def test_the_positive_class_is_part_of_the_fingerprints(tmp_path):
    fingerprints = []
    for task in ({}, {"positive": "negative"}):
        recipe = recipe_with(tmp_path / "t.csv", **task)
        plan = plan_of(recipe, load_recipe_task(recipe, Console(quiet=True)))
        fingerprints.append({stage.name: stage.fingerprint for stage in plan})
    first, second = fingerprints
    assert first["teacher"] != second["teacher"] and first["prediction"] != second["prediction"]
