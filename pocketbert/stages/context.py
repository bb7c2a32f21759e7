"""What a stage is given: the recipe, the task, and what earlier stages left. Loads no torch."""

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
    """One run over one task. `folder`: the run's; `records`: of the stages done so far, in the main process."""

    def __init__(
        self, recipe: Recipe, task: Task, folder: Path, records: Mapping[str, StageRecord], console: Console
    ) -> None:
        self.recipe = recipe
        self.task = task
        self.folder = folder
        self.records = records
        self.console = console

    @property
    def kind(self) -> TaskType:
        """What kind of answer the task asks for."""
        return task_type(self.task.type)

    @cached_property
    def data(self) -> "TaskData":
        """The teacher, the tokenizer and the token rows, loaded once for all stages. Loads torch."""
        from pocketbert.stages.data import TaskData

        return TaskData(self.recipe, self.task, self.folder)

    def result(self, stage: str, kind: type[Result]) -> Result:
        """What an earlier stage reported."""
        return self.records[stage].result_as(kind)
