"""Whether the outputs of a model are in the order of a task's labels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from compress.common.errors import UserError
from compress.data import task_types
from compress.data.columns import Split
from compress.data.label_matching import has_default_names, listed, match_names, spelling_remarks
from compress.data.task_types import TaskTypeName
from compress.data.tasks import Task

QUESTION = "are the labels of the table in the order of the model's outputs?"


def align_labels(task: Task, teacher_labels: Sequence[str]) -> Task:
    """The task with its classes in the teacher's order and spelling, matched by name.

    A teacher with the default names of transformers (LABEL_0, LABEL_1) keeps the task's names, if their order is that
    of the integers in the data, or given by the user. Names given by the user also stand for a teacher's other names,
    unless both have a name for different outputs. Raises UserError if the order would be a guess.
    """
    names = tuple(teacher_labels)
    same_number = len(names) == len(task.labels)
    if names == task.labels or (same_number and not task_types.task_type(task.type).has_classes):
        return task
    outputs = match_names(task.labels, names)
    if same_number and len(set(outputs.values())) == len(names):
        index = np.array([outputs[name] for name in task.labels])
        return replace(
            task,
            labels=names,
            train=replace(task.train, labels=index[task.train.labels]),
            dev=replace(task.dev, labels=index[task.dev.labels]),
            test=replace(task.test, labels=index[task.test.labels]),
            remarks=(*task.remarks, *spelling_remarks(outputs, names)),
        )
    if same_number:
        meaning = listed([f"{label} is {name}" for label, name in zip(task.labels, names, strict=True)])
        remarks = (*task.remarks, f"labels are the teacher's outputs in order: {meaning}")
        if has_default_names(names):
            if task.label_order == "sorted":
                raise UserError(
                    f"the data have the classes {listed(task.labels)}, but the teacher's outputs have only the default "
                    f"names {listed(names)}; these do not say which output is which class",
                    option="labels",
                )
            return replace(task, remarks=remarks)
        if task.label_order == "given" and all(task.labels[output] == label for label, output in outputs.items()):
            return replace(task, labels=names, remarks=remarks)
    only_teacher = [name for index, name in enumerate(names) if index not in outputs.values()]
    only_data = [label for label in task.labels if label not in outputs]
    differing = [f"only the teacher has {listed(only_teacher)}"] if only_teacher and outputs else []
    differing += [f"only the data have {listed(only_data)}"] if only_data and outputs else []
    raise UserError(
        f"teacher and data disagree on the labels: the teacher has {listed(names)}; the data {listed(task.labels)}"
        + "".join(f"; {each}" for each in differing),
        option="labels",
    )


def require_label_order(
    rows: Split, predictions: np.ndarray, labels: Sequence[str], model: str, task_type: TaskTypeName
) -> None:
    """Raise UserError if a model's predictions (rows,) fit far better with its outputs in another order."""
    likely_order = task_types.task_type(task_type).better_order(rows.labels, predictions, len(labels))
    if likely_order is not None:
        wrong = next(index for index in range(len(labels)) if likely_order[index] != index)
        raise UserError(
            f"{model}: its outputs are not in the order of the labels: where it predicts {labels[wrong]!r}, the data "
            f"have {labels[likely_order[wrong]]!r}; the order of its outputs seems to be "
            f"{', '.join(labels[index] for index in likely_order)}; correct id2label in its config.json, or the labels "
            "given for the table",
            option="labels" if has_default_names(labels) else None,
        )


def label_doubt(
    rows: Split, predictions: np.ndarray, labels: Sequence[str], model: str, task_type: TaskTypeName
) -> str | None:
    """A warning if the predictions (rows,) are so bad that the labels may not be those of the model, else None."""
    doubt = task_types.task_type(task_type).doubt(rows.labels, predictions, labels)
    return None if doubt is None else f"{model}: {doubt}; {QUESTION}"
