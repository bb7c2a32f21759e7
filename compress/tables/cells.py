"""Turns the cells of a table into texts and labels."""

import ast
import json
import re
import warnings
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from compress.common.errors import UserError
from compress.tables.content import has_half_pair

SQL_NULL = "\\N"  # a missing cell in files of MySQL, PostgreSQL and Hive
NOT_SEEN = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # characters without width, as web pages and marks leave them
UNLABELLED = ("", "-1", "-1.0", "[]", SQL_NULL.lower(), "?", "-", "null", "na", "n/a", "nan", "none", "<na>")
SEVERAL_LABELS = re.compile(r"[\[{(].*[,'\"].*[\]})]|\[[0-9. ]+\]", re.DOTALL)  # a list that some program printed
DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+")
MAX_EXCERPT = 60  # characters of a cell in a message


def text_cells(
    table: pd.DataFrame, text: Sequence[str], label: str | None, *, where: str, remarks: list[str] | None = None
) -> pd.DataFrame:
    """The text columns and the label column of a table, with every cell as a string without outer spaces.

    `text`: one column, or two for pairs. `label`: None for a table without labels. `remarks` receives a line for each
    conversion that a user may not expect. Raises UserError for missing columns, empty cells, and cells that hold
    neither text nor a number, such as lists.
    """
    columns = [*text, *([label] if label is not None else [])]
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
    cells = {}
    for column in columns:
        values = list(table[column])
        if column == label:
            values = [_literal(value) for value in values]
            if any(isinstance(value, list | np.ndarray) for value in values):
                values = _only_elements(values, f"{where}: column {column!r}")
                if remarks is not None:
                    remarks.append(f"{where}: column {column!r} holds lists of one label each, read as that label")
        elif all(isinstance(_literal(value), list) for value in values):
            raise UserError(f"{where}: column {column!r} holds lists ({_excerpt(values[0])}); expected texts")
        cells[column] = [
            as_text(value, f"{where}: column {column!r}, row {row}", is_label=column == label)
            for row, value in enumerate(values, start=1)
        ]
        if column == label:
            _check_labels(cells[column], f"{where}: column {column!r}")
        blank = [row for row, cell in enumerate(cells[column], start=1) if not cell]
        if blank:
            raise UserError(
                f"{where}: column {column!r} is empty in {len(blank)} rows, first in row {blank[0]}; "
                "fill these cells, or delete the rows"
            )
    return pd.DataFrame(cells, dtype=object)


def is_unlabelled(table: pd.DataFrame, text: Sequence[str], label: str) -> bool:
    """Whether no row has a label: the column is missing, or all its cells are empty or the same mark for that.

    GLUE's test splits have the label -1. A column is not missing if its name differs only in case, or if the table has
    no header.
    """
    if label in table:
        marks = {"" if _is_empty(value) else str(value).strip().lower() for value in table[label]}
        return len(marks) == 1 and marks <= set(UNLABELLED)
    names = {str(name).strip().casefold() for name in table.columns}
    return set(text) <= set(table.columns) and label.casefold() not in names


def _check_labels(labels: Sequence[str], where: str) -> None:
    """Raise UserError for labels that are lists which a program printed, or numbers with a decimal comma."""
    for row, label in enumerate(labels, start=1):
        if SEVERAL_LABELS.fullmatch(label):
            raise UserError(f"{where}, row {row}: got {_excerpt(label)}, a list; expected one label per row")
    if labels and all(map(DECIMAL_COMMA.fullmatch, labels)):
        raise UserError(f"{where}: got numbers with a decimal comma, such as {labels[0]}; expected a decimal point")


def _literal(value: object) -> object:
    """The list or object that a string spells out, as pandas and Label Studio write them to CSV; else the value."""
    if not isinstance(value, str) or not value.strip() or value.strip()[0] not in "[{":
        return value
    try:
        literal = json.loads(value)
    except (ValueError, RecursionError):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Python's parser
                literal = ast.literal_eval(value.strip())
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return value
        if repr(literal) != value.strip():  # Python joins 'a' 'b', as numpy prints two elements
            return value
    return literal if isinstance(literal, list | dict) else value


def _only_elements(values: Sequence[object], where: str) -> list[object]:
    """The elements of lists of one element each. Raises UserError for a row with none or several."""
    elements = list[object]()
    for row, value in enumerate(values, start=1):
        if not isinstance(value, list | np.ndarray) or np.ndim(value) == 0:
            elements.append(value)
        elif len(value) == 1:
            elements.append(value[0])
        else:
            raise UserError(
                f"{where}, row {row}: got {len(value)} labels ({_excerpt(list(value))}); expected one label per row"
            )
    return elements


def _is_empty(value: object) -> bool:
    """Whether the value stands for a missing cell: None, NaN, NaT or pd.NA."""
    return value is None or ((np.isscalar(value) or value is pd.NA or value is pd.NaT) and bool(pd.isna(value)))


def as_text(value: object, where: str, *, is_label: bool = False) -> str:
    """A cell as a string without outer spaces; empty if it is missing. Raises UserError for a cell of another type."""
    if isinstance(value, str):
        if has_half_pair(value):
            raise UserError(f"{where}: got half of a surrogate pair ({_excerpt(ascii(value))}); expected text")
        cell = value.strip()
        if is_label or not cell.strip(NOT_SEEN):
            cell = cell.strip(NOT_SEEN).strip()
        return "" if cell == SQL_NULL else cell
    if _is_empty(value):
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise UserError(f"{where}: got bytes that are not UTF-8 ({_excerpt(value)}); expected text") from None
    if isinstance(value, bool | np.bool_) and is_label:
        return str(value)
    if isinstance(value, int | float | np.integer | np.floating | Decimal) and not isinstance(value, bool):
        return str(value)
    kinds: dict[type, str] = {dict: "an object", list: "a list", np.ndarray: "a list"}
    expected = "one label, as text or a number" if is_label else "text"
    raise UserError(
        f"{where}: got {kinds.get(type(value), f'a {type(value).__name__}')} ({_excerpt(value)}); expected {expected}"
    )


def _excerpt(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}..."
