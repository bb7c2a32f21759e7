"""A task: texts, labels and metric, split into train, dev and test."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from compress.common.errors import UserError
from compress.data import tables, task_types
from compress.data.columns import Split, check_cells
from compress.data.task_types import TaskType, TaskTypeName

TEST_FROM_DEV_ROWS = 1000
DEV_SHARE, DEV_ROWS_AT_MOST = 0.2, 2000


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled data set, ready to train on. `labels` are the names of a model's outputs, in their order: the classes,
    or the one name of a number.

    `test` holds the headline figures' rows. Where there are too few rows for a test split of their own, it is `dev`
    itself and `selected_on_test` is True: the figures are then taken on the rows that chose the checkpoints.
    """

    name: str
    type: TaskTypeName
    labels: tuple[str, ...]
    train: Split
    dev: Split
    test: Split
    max_length: int
    selected_on_test: bool = False
    remarks: tuple[str, ...] = field(default=())

    def fingerprint(self) -> str:
        """sha256 over all rows, labels and limits."""
        digest = hashlib.sha256(repr((self.labels, self.max_length, self.selected_on_test)).encode())
        for split in (self.train, self.dev, self.test):
            digest.update(_content_of(split))
        return digest.hexdigest()

    def train_fingerprint(self) -> str:
        """sha256 over the train rows and the limit of their length."""
        return hashlib.sha256(repr(self.max_length).encode() + _content_of(self.train)).hexdigest()


def load_task(
    *,
    name: str,
    data: str | Path,
    text: Sequence[str],
    label: str,
    labels: Sequence[str] | None = None,
    subset: str | None = None,
    splits: dict[str, str] | None = None,
    encoding: str = "utf-8",
    max_length: int = 128,
    max_rows: int | None = None,
    task_type: TaskTypeName = "classification",
    seed: int = 0,
) -> Task:
    """Load a task from a local file or folder, or by its name from the Hub.

    With `subset`, a local folder is taken for a copy of a Hub data set. `labels` names the classes; where the column
    holds integers, in the order of the integers. `max_rows`: of each split, drawn by the seed. Raises UserError.
    """
    location = Path(data).expanduser()
    if subset is not None and location.is_file():
        raise UserError(
            f"{subset!r} has no meaning as a subset of the single file {data}; leave it out", option="subset"
        )
    if subset is None and (location.exists() or _looks_local(str(data))):
        found = tables.read_local(location, encoding=encoding, splits=splits or {})
        classes: dict[str, list[str]] = {}
    else:
        found, classes = tables.read_hub(str(location if location.is_dir() else data), subset, splits or {})
        # GLUE's public test splits carry -1 for every label
        test = found.get("test")
        if test is not None and label in test and set(test[label]) <= {-1, None}:
            found = {split: table for split, table in found.items() if table is not test}
    for split, table in found.items():
        check_cells(table, text, label, where=f"{data} ({split})")
    kind = task_types.task_type(task_type)
    names = kind.label_names(found["train"][label], known=labels or classes.get(label), where=str(data))
    parsed = _parse(found, text, label, names, kind, by_position=label in classes, where=str(data))
    if max_rows is not None:
        parsed = {split: _drawn(rows, max_rows, seed, task_type) for split, rows in parsed.items()}
    return split_task(name=name, task_type=task_type, labels=names, splits=parsed, max_length=max_length, seed=seed)


def read_split(
    path: Path,
    *,
    text: Sequence[str],
    label: str,
    labels: Sequence[str] | None,
    task_type: TaskTypeName,
    encoding: str = "utf-8",
) -> Split:
    """One local table as it is, every row kept. `labels` as in `load_task`."""
    table = tables.read_file(path, encoding=encoding)
    check_cells(table, text, label, where=str(path))
    kind = task_types.task_type(task_type)
    names = kind.label_names(table[label], known=labels, where=str(path))
    (split,) = _parse({"rows": table}, text, label, names, kind, by_position=False, where=str(path)).values()
    return split


def split_task(
    *,
    name: str,
    task_type: TaskTypeName,
    labels: tuple[str, ...],
    splits: dict[str, Split],
    max_length: int,
    seed: int,
) -> Task:
    """Remove duplicates from train, then make the splits that are missing.

    Without dev, a seeded fifth of train (2,000 rows at most) is taken. Without test, half of dev when dev has 1,000
    rows or more. Splits that came with the data stay as they are, so that their figures compare with others'; the
    train rows that repeat one of theirs are removed. Raises UserError where dev or test holds a class that train lacks.
    """
    remarks: list[str] = []
    given = splits["train"]
    train = _without_duplicates(given, "train", remarks)
    held_out = {row for split, rows in splits.items() if split != "train" for row in rows.rows()}
    leaked = np.array([row in held_out for row in train.rows()])
    if leaked.any():
        remarks.append(f"{leaked.sum()} rows of train removed that also stand in dev or test")
        train = train.take(~leaked)

    generator = np.random.default_rng(seed)
    dev, test = splits.get("dev"), splits.get("test")
    if dev is None:
        order = generator.permutation(len(train))
        num_dev = min(int(len(train) * DEV_SHARE), DEV_ROWS_AT_MOST)
        kept = _with_every_group(train, order[num_dev:], order[:num_dev], task_type)
        dev, train = train.take(np.setdiff1d(order, kept)), train.take(kept)
        remarks.append(f"dev: {len(dev)} rows set aside from train (seed {seed})")
    selected_on_test = False
    if test is None and len(dev) >= TEST_FROM_DEV_ROWS:
        dev = _without_duplicates(dev, "dev", remarks)
        order = generator.permutation(len(dev))
        half = len(dev) // 2
        test, dev = dev.take(np.sort(order[half:])), dev.take(np.sort(order[:half]))
        remarks.append(f"test: {len(test)} rows set aside from dev (seed {seed})")
    elif test is None:
        test, selected_on_test = dev, True
        remarks.append(f"no test split, and dev has fewer than {TEST_FROM_DEV_ROWS} rows: selected on the same rows")
    for split, rows in {"train": train, "dev": dev, "test": test}.items():
        if len(rows) == 0:
            raise UserError(
                f"{name}: the {split} split has no rows left of the {len(given)} in train; expected at least "
                "10 different ones"
            )
    held = {"train": train.labels, "dev": dev.labels, "test": test.labels}
    remarks += task_types.task_type(task_type).check_splits(name, labels, held)
    return Task(
        name=name,
        type=task_type,
        labels=labels,
        train=train,
        dev=dev,
        test=test,
        max_length=max_length,
        selected_on_test=selected_on_test,
        remarks=tuple(remarks),
    )


def align_labels(task: Task, teacher_labels: Sequence[str]) -> Task:
    """The task with its classes in the teacher's order, matched by name.

    Names that transformers made up (LABEL_0, LABEL_1) say nothing: then the order stays. Raises UserError where the
    two name other classes.
    """
    if list(teacher_labels) == list(task.labels):
        return task
    if all(name == f"LABEL_{index}" for index, name in enumerate(teacher_labels)):
        if len(teacher_labels) == len(task.labels):
            return task
    elif sorted(teacher_labels) == sorted(task.labels):
        index = np.array([list(teacher_labels).index(name) for name in task.labels])
        moved = {
            split: Split(texts=rows.texts, pairs=rows.pairs, labels=index[rows.labels])
            for split, rows in {"train": task.train, "dev": task.dev, "test": task.test}.items()
        }
        return Task(**{**vars(task), **moved, "labels": tuple(teacher_labels)})
    raise UserError(
        f"teacher and data disagree on the labels: the teacher has {', '.join(teacher_labels)}; "
        f"the data {', '.join(task.labels)}",
        option="labels",
    )


def require_label_order(
    rows: Split, answers: np.ndarray, labels: Sequence[str], model: str, task_type: TaskTypeName
) -> None:
    """Raise UserError where a model's answers (rows,) fit the rows far better with the labels in another order."""
    meant = task_types.task_type(task_type).better_order(rows.labels, answers, len(labels))
    if meant is not None:
        wrong = next(index for index in range(len(labels)) if meant[index] != index)
        raise UserError(
            f"{model}: its outputs stand in another order than the labels: where it answers {labels[wrong]!r}, the "
            f"data say {labels[meant[wrong]]!r}; the order of its outputs seems to be "
            f"{', '.join(labels[index] for index in meant)}; put that into id2label of its config.json"
        )


def _content_of(split: Split) -> bytes:
    return repr((split.texts, split.pairs, split.labels.tolist())).encode()


def _without_duplicates(rows: Split, name: str, remarks: list[str]) -> Split:
    unique = tables.first_occurrences(*([rows.texts] if rows.pairs is None else [rows.texts, rows.pairs]))
    if unique.all():
        return rows
    remarks.append(f"{(~unique).sum()} duplicate rows of {name} removed")
    return rows.take(unique)


def _looks_local(data: str) -> bool:
    """Whether a name that is no file here was meant as one: a Hub name is NAME or OWNER/NAME, without an ending."""
    return data.startswith((".", "/", "~")) or data.count("/") > 1 or data.endswith(tables.SUFFIXES)


def _drawn(rows: Split, at_most: int, seed: int, task_type: TaskTypeName) -> Split:
    if len(rows) <= at_most:
        return rows
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows.take(_with_every_group(rows, order[:at_most], order[at_most:], task_type))


def _with_every_group(rows: Split, kept: np.ndarray, others: np.ndarray, task_type: TaskTypeName) -> np.ndarray:
    """The `kept` row numbers, and for each group that only `others` hold the first of those; in ascending order."""
    groups = task_types.task_type(task_type).groups(rows.labels)
    lost, first = np.unique(groups[others], return_index=True)
    return np.sort(np.concatenate([kept, others[first[~np.isin(lost, groups[kept])]]]))


def _parse(
    tables: dict[str, pd.DataFrame],
    text: Sequence[str],
    label: str,
    names: tuple[str, ...],
    kind: TaskType,
    *,
    by_position: bool,
    where: str,
) -> dict[str, Split]:
    """Texts and labels of all splits. `kind`: reads the labels; `names`, `by_position`: as it takes them."""
    columns = {split: table[label] for split, table in tables.items()}
    labels = kind.read_labels(columns, names, by_position=by_position, where=where)
    splits = {}
    for split, table in tables.items():
        texts, *pairs = ([str(cell).strip() for cell in table[column]] for column in text)
        splits[split] = Split(texts=texts, pairs=pairs[0] if pairs else None, labels=labels[split])
    return splits
