"""The input of a stage: the recipe, the task and the results of earlier stages. Loads no torch."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from compress.data.task_types import TaskType, task_type
from compress.data.tasks import Task
from pocketbert.recipe.sections import Recipe
from pocketbert.store.manifest import StageRecord

if TYPE_CHECKING:
    from pocketbert.stages.data import TaskData

Result = TypeVar("Result")


class StageContext:
    """A run of a recipe. `folder`: the run folder. `records`: of the finished stages, in the main process."""

    def __init__(
        self, recipe: Recipe, task: Task, folder: Path, records: Mapping[str, StageRecord], console: Console
    ) -> None:
        self.recipe = recipe
        self.task = task
        self.folder = folder
        self.records = records
        self.console = console

    @property
    def task_type(self) -> TaskType:
        """The type of the task, with its metrics, losses and decisions."""
        return task_type(self.task.type)

    @cached_property
    def data(self) -> "TaskData":
        """The teacher, the tokenizer and the tokenised task, loaded once for all stages. Loads torch."""
        from pocketbert.stages.data import TaskData

        return TaskData(self.recipe, self.task, self.folder)

    def result(self, stage: str, result_type: type[Result]) -> Result:
        """The result of an earlier stage."""
        return self.records[stage].result_as(result_type)
