"""A recipe for a table: its files, columns, labels and lengths decide the values."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compress.common.errors import UserError
from compress.data.task_types import TaskTypeName, task_type
from compress.data.tasks import Task, labelled_splits, split_task
from compress.tables.cells import is_unlabelled, text_cells
from pocketbert.new_recipe import columns
from pocketbert.new_recipe.classes import MetricChoice, about_classes, brief, choose_metric
from pocketbert.new_recipe.lengths import LengthChoice, choose_length
from pocketbert.new_recipe.recipe_text import Entry, recipe_text
from pocketbert.new_recipe.source import Source, Tables, find_source, read_source
from pocketbert.new_recipe.teacher import PRESET, TeacherChoice, choose_teacher, default_teacher, student_for

UNUSED_LENGTH = 128  # the maximum length is chosen later
MAX_COLUMNS = 12  # in a line


@dataclass(frozen=True, kw_only=True)
class NewRecipe:
    """A recipe as text. `table_facts`: what the table contains and what follows from it, one line per fact."""

    name: str
    recipe: str
    table_facts: list[str]


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The tables of a source, with the columns that matter."""

    source: Source
    tables: Tables
    text: list[str]
    label: str
    task_type: TaskTypeName

    def task(self, labels: Sequence[str] | None = None) -> Task:
        """The task that a run would load. A single table with too few rows for a dev split is train, dev and test."""
        frames, classes, source = self.tables.frames, self.tables.classes, self.source
        parsed = labelled_splits(
            frames,
            classes,
            data=source.data,
            text=self.text,
            label=self.label,
            labels=labels,
            task_type=self.task_type,
        )
        try:
            task = split_task(
                name=source.name,
                task_type=self.task_type,
                labels=parsed.labels,
                splits=parsed.splits,
                max_length=UNUSED_LENGTH,
                seed=0,
            )
        except UserError as error:
            if len(parsed.splits) > 1:
                raise
            rows = parsed.splits["train"]
            task = Task(
                name=source.name,
                type=self.task_type,
                labels=parsed.labels,
                train=rows,
                dev=rows,
                test=rows,
                max_length=UNUSED_LENGTH,
                remarks=(f"caution: {error}",),
            )
        return replace(task, label_order=parsed.label_order, remarks=(*parsed.remarks, *task.remarks))


def propose_recipe(
    path: Path,
    *,
    text: Sequence[str] | None = None,
    label: str | None = None,
    teacher: str | None = None,
    encoding: str = "utf-8",
) -> NewRecipe:
    """Write a recipe for a table, or for a folder with a table per split.

    `text`, `label`: columns; by default they are detected. Raises UserError if that fails.
    """
    table = _read(path, text=text, label=label, encoding=encoding)
    task = table.task()
    name = teacher or default_teacher()
    taught = choose_teacher(name, task, table.label, table.task)
    metric = choose_metric(taught.task)
    length = choose_length(taught.task.train, name)
    return NewRecipe(
        name=table.source.name,
        recipe=_recipe(table, taught, name, metric, length, encoding),
        table_facts=_facts(table, taught, metric, length),
    )


def _read(path: Path, *, text: Sequence[str] | None, label: str | None, encoding: str) -> _Table:
    """Read the data at a path and detect their columns. Of a split with an unlabelled dev file, only that is used."""
    source = find_source(path)
    named = [*(text or []), *([label] if label else [])]
    tables = read_source(source, encoding=encoding, columns=named)
    train, where = tables.frames["train"], str(path)
    label = label or columns.label_column(train, where)
    texts = list(text) if text else columns.text_columns(train, label, where)
    cells = text_cells(train, texts, label, where=where)[label]
    if path.is_file() and source.data != path and is_unlabelled(tables.frames.get("dev", train), texts, label):
        remark = f"{path.name}: only this file is used, because the dev file beside it has no labels"
        source = replace(source, data=path, splits={}, remarks=[remark])
        tables = Tables(frames={"train": train}, readings={"train": tables.readings["train"]}, file=path.name)
    is_regression = label not in tables.classes and columns.are_fractions(cells)
    return _Table(
        source=source,
        tables=tables,
        text=texts,
        label=label,
        task_type="regression" if is_regression else "classification",
    )


def _facts(table: _Table, taught: TeacherChoice, metric: MetricChoice, length: LengthChoice) -> list[str]:
    """The lines about the table: rows, columns, reading, classes, lengths, metric and teacher."""
    task, train = taught.task, table.tables.frames["train"]
    names = list(map(str, train.columns))
    listed = ", ".join(names[:MAX_COLUMNS]) + (", ..." if len(names) > MAX_COLUMNS else "")
    others = "".join(f", {len(frame):,} {split}" for split, frame in table.tables.frames.items() if split != "train")
    rows = f"{len(train):,} train rows{others} rows" if others else f"{len(train):,} rows"
    has_classes = task_type(task.type).has_classes
    facts = [
        *table.source.remarks,
        *table.tables.remarks,
        f"{rows} with the columns {listed}",
        *(remark for remark in task.remarks if remark not in taught.facts),
        *_about_splits(task),
        f"text: {' and '.join(table.text)}; label: {table.label}",
        *(about_classes(task) if has_classes else [_about_numbers(task.train.labels)]),
    ]
    facts += columns.cautions(train, table.text, table.label)
    if has_classes and columns.may_be_grades(train[table.label]):
        facts.append("the whole numbers are read as classes; task.metric: pearson_spearman predicts them as grades")
    metric_name = metric.metric if metric.positive is None else f"{metric.metric} of {brief(metric.positive)}"
    return [*facts, *length.facts, f"metric: {metric_name}; {metric.reason}", *taught.facts]


def _about_splits(task: Task) -> list[str]:
    """The rows per split; nothing if the table has too few rows for a dev split."""
    if task.train is task.dev:
        return []
    return [f"a run uses {len(task.train):,} train, {len(task.dev):,} dev and {len(task.test):,} test rows"]


def _about_numbers(labels: np.ndarray) -> str:
    return f"labels: numbers from {labels.min():g} to {labels.max():g}, mean {labels.mean():.3g}"


def _recipe(
    table: _Table, taught: TeacherChoice, teacher: str, metric: MetricChoice, length: LengthChoice, encoding: str
) -> str:
    source, student = table.source, student_for(teacher)
    files = f"has {', '.join(table.tables.frames)}" if source.data.is_dir() else "dev and test are set aside from it"
    task = [
        Entry(section="task", key="data", value=str(source.data), comment=files),
        *([Entry(section="task", key="subset", value=source.subset)] if source.subset else []),
        *([Entry(section="task", key="splits", value=dict(source.splits))] if source.splits else []),
        Entry(section="task", key="text", value=table.text),
        Entry(section="task", key="label", value=table.label),
    ]
    if taught.labels is not None:
        task.append(Entry(section="task", key="labels", value=taught.labels, comment="the teacher's outputs, in order"))
    if taught.possible_labels is not None:
        order = "in the order of the teacher's outputs?"
        task.append(Entry(section="task", key="labels", value=taught.possible_labels, comment=order, is_proposal=True))
    if encoding != "utf-8":
        task.append(Entry(section="task", key="encoding", value=encoding))
    task.append(Entry(section="task", key="metric", value=metric.metric, comment=metric.reason))
    if metric.positive is not None:
        task.append(Entry(section="task", key="positive", value=metric.positive))
    task.append(Entry(section="task", key="max_length", value=length.max_length, comment=length.reason))
    shape = "4 layers, width 312" if student == {"preset": PRESET} else "about half the teacher's size"
    return recipe_text(
        [
            f"A small model for {source.name}. Read it through, then use `pocketbert check` and `pocketbert run`.",
            "All keys and their defaults: docs/recipe.md, or `pocketbert schema`. The run chooses rates and epochs.",
        ],
        [
            Entry(key="name", value=source.name),
            *task,
            Entry(section="teacher", key=taught.key, value=teacher, comment=taught.reason),
            Entry(key="student", value=student, comment=shape),
            Entry(key="gate", value={"require": ["int8-static"]}, comment="small and fast; exit code 3 if it fails"),
            Entry(key="bench", value={"effort": "quick"}, comment="about a minute; or standard, thorough"),
        ],
    )
