"""The task of a recipe, read from its data."""

from pathlib import Path

from rich.console import Console

from bench.results.phrases import phrases_for
from compress.common.console import notice, remark
from compress.data.label_order import align_labels
from compress.data.metrics import positive_class
from compress.data.tasks import Task, load_task
from compress.models import sources
from pocketbert.data import quickstart_data
from pocketbert.recipe.sections import Recipe


def load_recipe_task(recipe: Recipe, console: Console) -> Task:
    """The task of the recipe. If there is a fine-tuned teacher, the labels are in its order."""
    section = recipe.task
    data: str | Path = section.data
    if section.data.startswith(quickstart_data.PREFIX):
        data = quickstart_data.fetch(section.data)
    task = load_task(
        name=recipe.name,
        task_type=section.task_type,
        data=data,
        subset=section.subset,
        splits={str(split): source for split, source in section.splits.items()},
        text=section.text,
        label=section.label,
        labels=section.labels,
        encoding=section.encoding,
        max_length=section.max_length,
        max_rows=section.max_rows,
        seed=recipe.seed,
    )
    if recipe.teacher.model is not None:
        task = align_labels(task, sources.label_names_in_config(recipe.teacher.model))
    positive_class(section.metric, section.positive, task.labels)  # raises if it is no label of the data
    rows = f"{len(task.train)} train, {len(task.dev)} dev, {len(task.test)} test rows"
    console.print(notice(f"{recipe.name}:", "bold", f"{phrases_for(task.type).outputs(task.labels)}, {rows}"))
    for each in remarks_on(recipe, task):
        console.print(remark(each))
    return task


def remarks_on(recipe: Recipe, task: Task) -> list[str]:
    """Remarks for the user: about the data, and about keys of the recipe without effect."""
    remarks = list(task.remarks)
    if recipe.teacher.base is None:
        remarks.append("there is no teacher.base, so the fine-tuned teacher also serves as base")
    if recipe.teacher.model is not None and "fine_tune" in recipe.teacher.model_fields_set:
        remarks.append("teacher.model is already fine-tuned, so teacher.fine_tune has no effect")
    return remarks
