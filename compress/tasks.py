"""A task: texts, labels and metric, split into train, dev and test."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from compress import tables
from compress.errors import UserError

TEST_FROM_DEV_ROWS = 1000
DEV_SHARE, DEV_ROWS_AT_MOST = 0.2, 2000


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of a task. `pairs` is None for single-text tasks; `labels`: (rows,) class indices."""

    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> "Split":
        """The rows at the given indices (or where a boolean mask is True)."""
        index = np.arange(len(self))[rows]
        pairs = None if self.pairs is None else [self.pairs[i] for i in index]
        return Split(texts=[self.texts[i] for i in index], pairs=pairs, labels=self.labels[index])

    def rows(self) -> list[tuple[str, ...]]:
        """The text cells of each row."""
        return (
            list(zip(self.texts, strict=True)) if self.pairs is None else list(zip(self.texts, self.pairs, strict=True))
        )


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled data set, ready to train on. `labels` are class names, in the order of their indices.

    `test` holds the headline figures' rows. Where there are too few rows for a test split of their own, it is `dev`
    itself and `selected_on_test` is True: the figures are then taken on the rows that chose the checkpoints.
    """

    name: str
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
            digest.update(repr((split.texts, split.pairs, split.labels.tolist())).encode())
        return digest.hexdigest()


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
    seed: int = 0,
) -> Task:
    """Load a task from a local file or folder, or by its name from the Hub.

    `labels` names the classes; where the column holds integers, in the order of the integers. Raises UserError.
    """
    location = Path(data).expanduser()
    if location.exists() or location.suffix in tables.SUFFIXES:
        if subset is not None:
            raise UserError(f"task.subset: {subset!r} has no meaning for the local data {data}; leave it out")
        found = tables.read_local(location, encoding=encoding, splits=splits or {})
        classes: dict[str, list[str]] = {}
    else:
        found, classes = tables.read_hub(str(data), subset, splits or {})
        # GLUE's public test splits carry -1 for every label
        if "test" in found and label in found["test"] and set(found["test"][label]) <= {-1, None}:
            del found["test"]
    for split, table in found.items():
        _check_columns(table, [*text, label], where=f"{data} ({split})")
    names = tuple(labels or classes.get(label) or _names_in(found["train"][label], where=str(data)))
    if len(names) < 2:
        raise UserError(
            f"{data}: column {label!r} holds {len(names)} class ({', '.join(names)}); expected at least two"
        )
    parsed = {split: _parse(table, text, label, names, where=f"{data} ({split})") for split, table in found.items()}
    return split_task(name=name, labels=names, splits=parsed, max_length=max_length, seed=seed)


def read_split(
    path: Path, *, text: Sequence[str], label: str, labels: Sequence[str] | None, encoding: str = "utf-8"
) -> Split:
    """One local table as it is, every row kept. `labels` as in `load_task`."""
    table = tables.read_file(path, encoding=encoding)
    _check_columns(table, [*text, label], where=str(path))
    return _parse(table, text, label, tuple(labels or _names_in(table[label], where=str(path))), where=str(path))


def split_task(*, name: str, labels: tuple[str, ...], splits: dict[str, Split], max_length: int, seed: int) -> Task:
    """Remove duplicates from train, then make the splits that are missing.

    Without dev, a seeded fifth of train (2,000 rows at most) is taken. Without test, half of dev when dev has 1,000
    rows or more. Splits that came with the data stay as they are, so that their figures compare with others'; the
    train rows that repeat one of theirs are removed.
    """
    remarks: list[str] = []
    train = _without_duplicates(splits["train"], "train", remarks)
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
        dev, train = train.take(np.sort(order[:num_dev])), train.take(np.sort(order[num_dev:]))
        remarks.append(f"dev: {num_dev} rows set aside from train (seed {seed})")
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
            raise UserError(f"{name}: the {split} split has no rows left")
    return Task(
        name=name,
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
        f"the data {', '.join(task.labels)}; name the data's classes in task.labels (integers: in their order)"
    )


def _without_duplicates(rows: Split, name: str, remarks: list[str]) -> Split:
    unique = tables.first_occurrences(*([rows.texts] if rows.pairs is None else [rows.texts, rows.pairs]))
    if unique.all():
        return rows
    remarks.append(f"{(~unique).sum()} duplicate rows of {name} removed")
    return rows.take(unique)


def _check_columns(table: pd.DataFrame, columns: Sequence[str], *, where: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise UserError(f"{where}: no column {missing[0]!r}; it has {', '.join(map(str, table.columns))}")


def _names_in(column: pd.Series, *, where: str) -> list[str]:
    values = sorted({str(value) for value in column})
    if all(value.lstrip("-").isdigit() for value in values):
        values.sort(key=int)
        if values != [str(index) for index in range(len(values))]:
            raise UserError(
                f"{where}: the labels are the integers {', '.join(values)}; expected 0, 1, ... without gaps"
            )
    elif len(values) > max(50, len(column) // 5):
        raise UserError(f"{where}: {len(values)} different labels in {len(column)} rows; is that the right column?")
    return values


def _parse(table: pd.DataFrame, text: Sequence[str], label: str, names: tuple[str, ...], *, where: str) -> Split:
    for column in (*text, label):
        blank = table[column].isna() | (table[column].astype(str).str.strip() == "")
        if blank.any():
            first = int(blank.to_numpy().argmax()) + 1
            raise UserError(f"{where}: column {column!r} is empty in {int(blank.sum())} rows, first in row {first}")
    texts = [[str(cell).strip() for cell in table[column]] for column in text]
    index = {name: position for position, name in enumerate(names)}
    values = [str(value) for value in table[label]]
    if not set(values) <= set(index):
        index = {str(position): position for position in range(len(names))}
    unknown = sorted(set(values) - set(index))
    if unknown:
        raise UserError(
            f"{where}: label {unknown[0]!r} in column {label!r} is not one of {', '.join(names)}"
            + (f" (and {len(unknown) - 1} other unknown labels)" if len(unknown) > 1 else "")
        )
    return Split(
        texts=texts[0],
        pairs=texts[1] if len(texts) > 1 else None,
        labels=np.array([index[value] for value in values]),
    )
