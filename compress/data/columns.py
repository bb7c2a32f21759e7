"""Checks the cells of a table and turns them into texts and labels."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compress.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


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


def check_cells(table: "pd.DataFrame", text: Sequence[str], label: str, *, where: str) -> None:
    """Raise UserError unless all columns exist without empty cells. `text`: one column, or two for pairs."""
    columns = [*text, label]
    if len(text) > 2:
        raise UserError(f"{where}: got the text columns {', '.join(text)}; expected one column, or two for pairs")
    if len(set(columns)) < len(columns):
        raise UserError(
            f"{where}: the text columns {', '.join(text)} and the label column {label} are not all different; "
            "a model that sees the label as text learns nothing"
        )
    missing = [column for column in columns if column not in table]
    if missing:
        raise UserError(f"{where}: no column {missing[0]!r}; it has {', '.join(map(str, table.columns))}")
    for column in columns:
        cells = table[column].astype(str).str.strip()
        blank = table[column].isna() | (cells == "") | ((cells.str.lower() == "nan") & (column == label))
        if blank.any():
            first = int(blank.to_numpy().argmax()) + 1
            raise UserError(
                f"{where}: column {column!r} is empty in {int(blank.sum())} rows, first in row {first}; "
                "fill these cells, or delete the rows"
            )


def label_names_of(column: "pd.Series", *, where: str) -> list[str]:
    """The sorted classes of a column: by value if all are integers, else alphabetically. Raises UserError."""
    values = sorted({str(value).strip() for value in column})
    if len(values) > max(50, len(column) // 5):
        raise UserError(
            f"{where}: {len(values)} different labels in {len(column)} rows of column {column.name!r}; "
            "is that the right one?"
        )
    if all(re.fullmatch("-?[0-9]+", value) for value in values):
        values.sort(key=int)
    return values


def label_indices_of(
    columns: Mapping[str, "pd.Series"], names: tuple[str, ...], *, by_position: bool, where: str
) -> dict[str, np.ndarray]:
    """The labels of all splits as indices into `names`, (rows,) each. Raises UserError.

    Cells hold names, or indices in every split. `by_position`: the cells are known to hold indices.
    """
    cells = {split: [str(value).strip() for value in column] for split, column in columns.items()}
    positions = {str(position): position for position in range(len(names))}
    index = positions if by_position else {name: position for position, name in enumerate(names)}
    if not by_position and all(set(values) <= set(positions) for values in cells.values()):
        index = index if all(set(values) <= set(index) for values in cells.values()) else positions
    labels = {}
    for split, values in cells.items():
        unknown = sorted(set(values) - set(index))
        if unknown:
            raise UserError(
                f"{_location(where, split, columns)}: label {unknown[0]!r} in column {columns[split].name!r} is not "
                f"one of {', '.join(index)}"
                + (f" (and {len(unknown) - 1} other unknown labels)" if unknown[1:] else "")
            )
        labels[split] = np.array([index[value] for value in values])
    return labels


def label_values_of(columns: Mapping[str, "pd.Series"], *, where: str) -> dict[str, np.ndarray]:
    """The labels of all splits as finite numbers, (rows,) float64 each. Raises UserError."""
    for split, column in columns.items():
        for row, value in enumerate(column, start=1):
            try:
                finite = math.isfinite(float(value))
            except ValueError:
                finite = False
            if not finite:
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
            raise UserError(
                f"{name}: {split} has the label {names[untrained[0]]!r}, but no row of train does; "
                "add such rows to train, or delete them"
            )
    missing = [label for index, label in enumerate(names) if index not in classes_of["train"]]
    return [f"no row has the label {', '.join(missing)}: it can't be learned"] if missing else []


def _location(where: str, split: str, columns: Mapping[str, "pd.Series"]) -> str:
    """The location for error messages, with the split's name if there are several splits."""
    return f"{where} ({split})" if len(columns) > 1 else where
