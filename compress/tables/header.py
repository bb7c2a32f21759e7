"""Decides whether the first row of a table is a header."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.common.errors import UserError

NUMERIC_SHARE = 0.9  # of a column of numbers
SENTENCE_WORDS = 3  # of a cell that is a text rather than a name


def has_header(path: Path, rows: Sequence[Sequence[Any]], columns: Sequence[str] = ()) -> bool:
    """Whether the first row names the columns. Raises UserError if that cannot be decided.

    `columns`: names that the caller expects. A row with one of them is a header. The names 1, 2, 3 are those of a table
    without a header. Otherwise each column votes. In a column of numbers, a header is no number. In a column whose
    values repeat, the first cell of a table without a header repeats too. In a column of texts, a header is no text.
    """
    first, rest = [_as_text(cell) for cell in rows[0]], rows[1:]
    numbers = [str(number) for number in range(1, len(first) + 1)]
    if (set(columns) - set(numbers)) & set(first):
        return True
    if first == [str(number) for number in range(len(first))] or (
        first[0] == "" and first[1:] == [str(number) for number in range(len(first) - 1)]
    ):
        return True  # pandas' names for columns without names
    if columns and set(columns) <= set(numbers):
        return False
    if not columns and (first[0].startswith("#") or any(cell == "" for cell in first[1:])):
        named = [cell for cell in first if cell]
        raise UserError(
            f"{path}, line 1: got {', '.join(map(repr, named[:5]))}, which does not name each of the {len(first)} "
            "columns; delete titles and comments above the header, or name the columns of texts and labels"
        )
    others = [cells for row in rest if (cells := [_as_text(cell) for cell in row]) != first]  # not of joined files
    votes = {_vote(first[index], [cells[index] for cells in others]) for index in range(len(first))} - {None}
    if len(votes) == 2 and not columns:
        raise UserError(
            f"{path}, line 1: a header or a row? It has {', '.join(map(repr, first[:5]))}; if it is a header, name the "
            "columns of texts and labels; if not, add a first line with names, such as text and label"
        )
    return votes != {False}


def _vote(first: str, rest: Sequence[str]) -> bool | None:
    """Whether the column's first cell is a name; None if the column does not show it."""
    filled = [cell for cell in rest if cell]
    if len(filled) < 2:
        return None
    if sum(map(_is_number, filled)) >= NUMERIC_SHARE * len(filled):
        return not _is_number(first)
    different = set(filled)
    if len(different) <= len(filled) / 2:
        return first not in different
    is_sentence = len(first.split()) >= SENTENCE_WORDS
    return False if is_sentence and np.mean([len(cell.split()) for cell in filled]) >= SENTENCE_WORDS else None


def _as_text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
