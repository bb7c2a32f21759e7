"""The input of a stage: the recipe, the task and the results of earlier stages. Loads no torch."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from compress.data.metrics import Positive, metric_name, positive_class
from compress.data.task_types import TaskType, task_type
from compress.data.tasks import Task
from compress.results import SearchResult
from pocketbert.recipe.choices import Resolved
from pocketbert.recipe.sections import task_seed_of
from pocketbert.store.manifest import StageRecord

if TYPE_CHECKING:
    from pocketbert.stage_parts.task_data import TaskData

Result = TypeVar("Result")
DEV_PREDICTIONS = "dev_predictions.npy"  # in the folders of the baseline and teacher stages, in the form of labels
DEV_SCORES = "dev_scores.npy"  # in the folder of the baseline stage: decision scores, in the form of logits
CONTINUE = "--set gate.teacher_over_baseline=false continues"  # after an early stop


class StageContext:
    """A run of a recipe.

    `resolved`: the recipe without `auto`, and the values chosen for it. `folder`: the run folder. `records`: of the
    finished stages, in the main process.
    """

    def __init__(
        self,
        resolved: Resolved,
        task: Task,
        folder: Path,
        records: Mapping[str, StageRecord],
        console: Console,
    ) -> None:
        self.resolved = resolved
        self.recipe = resolved.recipe
        self.task = task
        self.folder = folder
        self.records = records
        self.console = console

    def after_search(self, result: SearchResult) -> "StageContext":
        """The same run, with the result of the search in its recipe."""
        return StageContext(self.resolved.after_search(result), self.task, self.folder, self.records, self.console)

    @property
    def task_type(self) -> TaskType:
        """The type of the task, with its metrics, losses and decisions."""
        return task_type(self.task.type)

    @property
    def positive(self) -> Positive | None:
        """The class whose F1 is the metric f1; None for other metrics."""
        return positive_class(self.recipe.task.metric, self.recipe.task.positive, self.task.labels)

    @property
    def metric_name(self) -> str:
        """The metric, with its positive class if it has one."""
        return metric_name(self.recipe.task.metric, None if self.positive is None else self.positive.name)

    @property
    def task_seed(self) -> int:
        """The seed of both steps of task distillation."""
        return task_seed_of(self.recipe)

    @cached_property
    def data(self) -> "TaskData":
        """The teacher, the tokenizer and the tokenised task, loaded once for all stages. Loads torch."""
        from pocketbert.stage_parts.task_data import TaskData

        return TaskData(self.recipe, self.task, self.folder)

    def result(self, stage: str, result_type: type[Result]) -> Result:
        """The result of an earlier stage."""
        return self.records[stage].result_as(result_type)
