"""The first pass over a table: its columns, their types, the number of rows, and whether each row can be predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.common.errors import UserError
from compress.tables.cells import as_text
from export.bundle.listed_files import BundleError
from export.bundle.settings import check_length
from pocketbert.new_recipe.columns import PAIR_NAMES
from pocketbert.table_predictions.reading import Row, Table, schema_of, windows

NO_ROWS = "the table has no rows; expected a row per text"
TEXT_NAMES = ("text", "sentence")
OWN_PAIR_NAMES = (("text", "pair"), *PAIR_NAMES)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a table holds.

    `types`: of the columns of JSON lines, by name; str for cells of several types, and in other formats. `schema`: that
    of a Parquet file.
    `text`: the text columns. `without_text`: how many rows have an empty cell there; `first_without_text`: the first of
    them, from 1.
    """

    types: Mapping[str, type]
    schema: Any
    text: tuple[str, ...]
    num_rows: int
    without_text: int
    first_without_text: int | None


def contents_of(table: Table, *, text: Sequence[str], takes_pairs: bool) -> Contents:
    """Read the whole table. Raises UserError for the first row that cannot be read or is no text.

    `text`: the text columns, or none to find them by their names.
    """
    schema = schema_of(table)
    types = _types_of(table, schema)
    names = list(types)
    chosen = tuple(text) or _text_columns(table.path, names, takes_pairs=takes_pairs)
    _check_columns(table.path, chosen, names, takes_pairs=takes_pairs)
    num_rows = without_text = 0
    first_without_text = None
    for window in windows(table, columns=chosen):
        for number, row in enumerate(window.rows, start=window.first + 1):
            if texts_of(table.path, number, row, chosen) is None:
                without_text += 1
                first_without_text = first_without_text or number
            num_rows = number
    if not num_rows:
        raise UserError(f"{table.path}: {NO_ROWS}")
    return Contents(
        types=types,
        schema=schema,
        text=chosen,
        num_rows=num_rows,
        without_text=without_text,
        first_without_text=first_without_text,
    )


def texts_of(path: Path, number: int, row: Row, columns: Sequence[str]) -> list[str] | None:
    """The texts of a row, without outer spaces; None if one is empty. `number`: of the row, from 1.

    Raises UserError for a cell that is no text, or a text that is too long.
    """
    texts = []
    for name in columns:
        where = f"{path}: column {name!r}, row {number}"
        texts.append(as_text(row.get(name), where))
        try:
            check_length(texts[-1], where)
        except BundleError as error:
            raise UserError(str(error)) from error
    return texts if all(texts) else None


def _types_of(table: Table, schema: Any) -> dict[str, type]:
    """The types of the columns, by name. JSON lines are read for them: a column may begin in any row."""
    if table.dialect is not None:
        return dict.fromkeys(table.dialect.names, str)
    if schema is not None:
        names = schema.names
        duplicate = next((name for index, name in enumerate(names) if name in names[:index]), None)
        if duplicate is not None:
            raise UserError(f"{table.path}: two columns have the name {duplicate!r}; rename one of them")
        return dict.fromkeys(names, str)
    types = dict[str, set[type]]()
    for window in windows(table):
        for row in window.rows:
            for name, value in row.items():
                types.setdefault(name, set()).add(_type_of(value))
    if not types:
        raise UserError(f"{table.path}: {NO_ROWS}")
    return {name: _common_type(each) for name, each in types.items()}


def _text_columns(path: Path, columns: Sequence[str], *, takes_pairs: bool) -> tuple[str, ...]:
    by_lower = {name.lower(): name for name in columns}
    if takes_pairs:
        pair = next((pair for pair in OWN_PAIR_NAMES if set(pair) <= set(by_lower)), None)
        if pair is not None:
            return by_lower[pair[0]], by_lower[pair[1]]
        raise UserError(
            f"{path}: which two columns are the texts? Of {_listed(columns)}, name them with --text and --pair"
        )
    if len(columns) == 1:
        return (columns[0],)
    usual = [by_lower[name] for name in TEXT_NAMES if name in by_lower]
    if len(usual) != 1:
        raise UserError(f"{path}: which column is the text? Of {_listed(columns)}, name one with --text")
    return (usual[0],)


def _check_columns(path: Path, chosen: Sequence[str], names: Sequence[str], *, takes_pairs: bool) -> None:
    if len(chosen) != 1 + takes_pairs:
        expected = "two texts: --text and --pair" if takes_pairs else "one text: --text"
        raise UserError(f"{path}: got the text columns {', '.join(chosen)}; this bundle takes {expected}")
    missing = next((name for name in chosen if name not in names), None)
    if missing is not None:
        raise UserError(f"{path}: no column {missing!r}; it has {_listed(names)}")


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")


class _LargeInteger:
    """Stands for an integer that no float represents."""


def _type_of(value: Any) -> type:
    """The type of a cell of JSON lines. An integer of more than 64 bits stays text."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        return str
    return _LargeInteger if type(value) is int and abs(value) > 2**53 else type(value)


def _common_type(types: set[type]) -> type:
    """The type of a column of JSON lines in Parquet: that of its cells, or str."""
    others = types - {type(None)}
    if others == {int, float}:
        return float
    if others <= {int, _LargeInteger} and others:
        return int
    return others.pop() if len(others) == 1 and others <= {bool, float} else str
