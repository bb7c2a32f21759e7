"""A table's cells as texts and labels, checked."""

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
    """Rows of a task. `pairs` is None for single-text tasks; `labels`: (rows,) classes, or numbers."""

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

    def different_texts(self) -> list[str]:
        """Every text of both columns once, in the order in which they first stand."""
        return list(dict.fromkeys([*self.texts, *(self.pairs or [])]))

    def rows(self) -> list[tuple[str, ...]]:
        """The text cells of each row."""
        return (
            list(zip(self.texts, strict=True)) if self.pairs is None else list(zip(self.texts, self.pairs, strict=True))
        )


def check_cells(table: "pd.DataFrame", text: Sequence[str], label: str, *, where: str) -> None:
    """Raise UserError unless the columns are there, one or two texts and a label, and every cell holds something."""
    columns = [*text, label]
    if len(text) > 2:
        raise UserError(f"{where}: got the text columns {', '.join(text)}; expected one, or two for pairs")
    if len(set(columns)) < len(columns):
        raise UserError(
            f"{where}: the text columns {', '.join(text)} and the label column {label} are not all different; "
            "a model that reads its label learns nothing"
        )
    missing = [column for column in columns if column not in table]
    if missing:
        raise UserError(f"{where}: no column {missing[0]!r}; it has {', '.join(map(str, table.columns))}")
    for column in columns:
        written = table[column].astype(str).str.strip()
        blank = table[column].isna() | (written == "") | ((written.str.lower() == "nan") & (column == label))
        if blank.any():
            first = int(blank.to_numpy().argmax()) + 1
            raise UserError(
                f"{where}: column {column!r} is empty in {int(blank.sum())} rows, first in row {first}; "
                "fill these cells, or leave the rows out"
            )


def label_names_of(column: "pd.Series", *, where: str) -> list[str]:
    """The classes of a column: whole numbers in their order, anything else in that of the alphabet."""
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
    """The label columns of all splits as positions in `names`, (rows,) each.

    Cells hold the names, or in every split the names' positions from 0 on. `by_position`: positions for certain.
    """
    written = {split: [str(value).strip() for value in column] for split, column in columns.items()}
    positions = {str(position): position for position in range(len(names))}
    index = positions if by_position else {name: position for position, name in enumerate(names)}
    if not by_position and all(set(values) <= set(positions) for values in written.values()):
        index = index if all(set(values) <= set(index) for values in written.values()) else positions
    labels = {}
    for split, values in written.items():
        unknown = sorted(set(values) - set(index))
        if unknown:
            raise UserError(
                f"{_rows_of(where, split, columns)}: label {unknown[0]!r} in column {columns[split].name!r} is not one "
                f"of {', '.join(index)}" + (f" (and {len(unknown) - 1} other unknown labels)" if unknown[1:] else "")
            )
        labels[split] = np.array([index[value] for value in values])
    return labels


def label_values_of(columns: Mapping[str, "pd.Series"], *, where: str) -> dict[str, np.ndarray]:
    """The label columns of all splits as finite numbers, (rows,) float64 each."""
    for split, column in columns.items():
        for row, value in enumerate(column, start=1):
            try:
                finite = math.isfinite(float(value))
            except ValueError:
                finite = False
            if not finite:
                raise UserError(
                    f"{_rows_of(where, split, columns)}: got {str(value)!r} in column {column.name!r}, row {row}; the "
                    "task type regression compares numbers",
                    option="metric",
                )
    return {split: column.astype(float).to_numpy() for split, column in columns.items()}


def check_classes(name: str, names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> list[str]:
    """Remarks on classes without rows. Raises UserError where only dev or test hold one. `labels`: of each split."""
    held = {split: set(each.tolist()) for split, each in labels.items()}
    for split in ("dev", "test"):
        if strange := sorted(held[split] - held["train"]):
            raise UserError(
                f"{name}: {split} holds the label {names[strange[0]]!r}, of which train has no row; "
                "add some to train, or leave those rows out"
            )
    missing = [label for index, label in enumerate(names) if index not in held["train"]]
    return [f"no row has the label {', '.join(missing)}: it can't be learned"] if missing else []


def _rows_of(where: str, split: str, columns: Mapping[str, "pd.Series"]) -> str:
    """Where a cell stands: with the name of its split where there are several."""
    return f"{where} ({split})" if len(columns) > 1 else where
