"""The rows of a task, and the labels in the cells of a column."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compress.common.errors import NotGoodEnough, UserError
from compress.data.label_matching import MAX_DIGITS, comparable, listed, match_labels, whole_number

if TYPE_CHECKING:
    import pandas as pd

FEW_CLASSES = 20  # so many different values may be classes in a table of any size
MIN_ROWS_PER_CLASS = 2  # on average, below which nothing can be learned
FEW_ROWS = 5  # rows per class, below which a remark is due
NAMES_OF_MISSING = ("nan", "null", "none", "n/a", "na", "<na>", "#n/a", "nil", "-", "?", ".", "#null!")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of a task. `pairs` is None for single-text tasks. `labels`: (rows,) class indices or numbers."""

    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> "Split":
        """The rows at the given indices, or where a boolean mask is True."""
        index = np.arange(len(self))[rows]
        pairs = None if self.pairs is None else [self.pairs[i] for i in index]
        return Split(texts=[self.texts[i] for i in index], pairs=pairs, labels=self.labels[index])

    def unique_texts(self) -> list[str]:
        """Every text of both columns once, in order of first occurrence: all texts, then all pairs."""
        return list(dict.fromkeys([*self.texts, *(self.pairs or [])]))

    def rows(self) -> list[tuple[str, ...]]:
        """The text cells of each row."""
        return (
            list(zip(self.texts, strict=True)) if self.pairs is None else list(zip(self.texts, self.pairs, strict=True))
        )


def can_be_classes(num_values: int, num_rows: int) -> bool:
    """Whether a column with this many different values may hold classes: a few, or each in two rows on average."""
    return num_values <= max(FEW_CLASSES, num_rows // 2)


def label_names_of(column: "pd.Series", *, where: str, remarks: list[str] | None = None) -> list[str]:
    """The sorted classes of a column: by value if all are integers, else alphabetically. Raises UserError.

    If all are whole numbers, such as 0.0 and 1.0, the classes are the integers. `remarks` receives a line for classes
    that may be a mistake.
    """
    remarks = [] if remarks is None else remarks
    values = sorted({str(value).strip() for value in column})
    numbers = [whole_number(value) for value in values]
    if None not in numbers:
        values = sorted({str(number) for number in numbers})
    if not can_be_classes(len(values), len(column)):
        raise NotGoodEnough(
            f"{where}: {len(values)} different labels in {len(column)} rows of column {column.name!r}; expected at "
            f"least {MIN_ROWS_PER_CLASS} rows per class on average; is that the right column?"
        )
    if all(len(value) <= MAX_DIGITS and re.fullmatch("-?[0-9]+", value) for value in values):
        values.sort(key=int)
    remarks += _doubts(values, len(column))
    return values


def label_indices_of(
    columns: Mapping[str, "pd.Series"],
    names: tuple[str, ...],
    *,
    by_position: bool,
    where: str,
    in_order_of_integers: bool = False,
    remarks: list[str] | None = None,
) -> dict[str, np.ndarray]:
    """The labels of all splits as indices into `names`, (rows,) each. Raises UserError.

    `by_position`, `in_order_of_integers`: as in `match_labels`. `remarks` receives a line on how labels were read.
    """
    cells = {split: [str(value).strip() for value in column] for split, column in columns.items()}
    reading = match_labels(
        {split: set(labels) for split, labels in cells.items()},
        names,
        column=str(next(iter(columns.values())).name),
        where=where,
        by_position=by_position,
        in_order_of_integers=in_order_of_integers,
    )
    if remarks is not None:
        remarks += reading.remarks
    return {split: np.array([reading.index[label] for label in labels]) for split, labels in cells.items()}


def label_values_of(columns: Mapping[str, "pd.Series"], *, where: str) -> dict[str, np.ndarray]:
    """The labels of all splits as finite numbers, (rows,) float64 each. Raises UserError."""
    for split, column in columns.items():
        for row, value in enumerate(column, start=1):
            if not _is_number(value):
                raise UserError(
                    f"{_location(where, split, columns)}: got {str(value)!r} in column {column.name!r}, row {row}; the "
                    "task type regression compares numbers",
                    option="metric",
                )
    return {split: column.astype(float).to_numpy() for split, column in columns.items()}


def check_classes(name: str, names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> list[str]:
    """Remarks on classes without rows. Raises UserError if dev or test has a class that train lacks."""
    classes_of = {split: set(each.tolist()) for split, each in labels.items()}
    for split in ("dev", "test"):
        if untrained := sorted(classes_of[split] - classes_of["train"]):
            require_rows_per_class(name, labels["train"])
            raise UserError(
                f"{name}: {split} has the label {names[untrained[0]]!r}, but no row of train does; "
                "add such rows to train, or delete them"
            )
    missing = missing_classes(names, labels["train"])
    return [f"no row has the label {listed(missing)}: it can't be learned"] if missing else []


def require_rows_per_class(name: str, train_labels: np.ndarray) -> None:
    """Raise NotGoodEnough if the classes of train have fewer than two rows on average."""
    num_rows, num_present = len(train_labels), len(np.unique(train_labels))
    if num_rows < MIN_ROWS_PER_CLASS * num_present:
        raise NotGoodEnough(
            f"{name}: train has {num_rows} rows for {num_present} classes; expected at least {MIN_ROWS_PER_CLASS} rows "
            "per class on average, and better 10; add rows, or join classes"
        )


def missing_classes(names: tuple[str, ...], labels: np.ndarray) -> list[str]:
    """The classes that no row has."""
    present = set(labels.tolist())
    return [name for index, name in enumerate(names) if index not in present]


def _is_number(value: object) -> bool:
    """Whether the value is a finite number, or text that is one."""
    text = str(value)
    try:
        return "_" not in text and math.isfinite(float(text))  # Python reads 1_000 as a number
    except ValueError:
        return False


def _doubts(classes: list[str], num_rows: int) -> list[str]:
    """A line for each property of the classes that may be a mistake."""
    doubts = []
    spellings: dict[str, list[str]] = {}
    for name in classes:
        spellings.setdefault(comparable(name), []).append(name)
    alike = [" and ".join(map(repr, each)) for each in spellings.values() if len(each) > 1]
    if alike:
        doubts.append(f"caution: the classes {listed(alike)} differ only in spelling; is each a class of its own?")
    empty = [name for name in classes if name.casefold() in NAMES_OF_MISSING]
    if empty:
        doubts.append(f"caution: {listed(empty)} is read as a class, not as a missing label")
    if num_rows < FEW_ROWS * len(classes):
        doubts.append(
            f"caution: {len(classes)} classes in {num_rows} rows, {num_rows / len(classes):.3g} rows per class"
        )
    return doubts


def _location(where: str, split: str, columns: Mapping[str, "pd.Series"]) -> str:
    """The location for error messages, with the split's name if there are several splits."""
    return f"{where} ({split})" if len(columns) > 1 else where
