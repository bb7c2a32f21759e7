"""Reads JSON: an object per line, a list of objects, or columns as pandas writes them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd

from compress.common.errors import UserError
from compress.tables.content import has_half_pair
from compress.tables.limits import check_size

FORMS = "an object per line, a list of objects, or lists of equal length by column"


class _KeysError(ValueError):
    """An object names a key twice, so that the later value would replace the earlier one, or a key is no text."""


def read_json(path: Path, text: str) -> tuple[pd.DataFrame, str]:
    """The rows of a JSON text with their cells unchanged, and the form that they were in. Raises UserError."""
    lines = _lines(text)
    number, line = next(lines, (0, ""))
    if not line:
        return pd.DataFrame(), "JSON"
    has_several_lines = next(lines, None) is not None
    try:
        first = _parse(line)
    except _KeysError as error:
        raise UserError(f"{path}, line {number}: {error}; rename it") from error
    except (ValueError, RecursionError) as error:
        if not has_several_lines:
            raise UserError(f"{path}, line {number}: not JSON ({error}); expected {FORMS}") from error
        first = None  # a document over several lines
    if isinstance(first, dict) and (
        has_several_lines or not (_is_table(first) or _is_split(first) or _holds_columns(first))
    ):
        rows = list[dict[str, Any]]()
        for number, line in _lines(text):
            check_size(path, len(rows) + 1, 1)
            rows.append(_row(path, number, line))
        return _table(path, rows), "JSON lines"
    try:
        document = _parse(text)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path}{where}: not JSON ({error}); expected {FORMS}") from error
    return _from_document(path, document)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    start = 0
    for number in count(1):
        end = text.find("\n", start)
        line = text[start:] if end < 0 else text[start:end]
        if line.strip("\ufeff \r\t"):
            yield number, line.strip("\ufeff")
        if end < 0:
            return
        start = end + 1


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise _KeysError(f"an object has the key {repeated!r} twice")
    broken = next(filter(has_half_pair, content), None)
    if broken is not None:
        raise _KeysError(f"the key {broken!a} has half of a surrogate pair")
    return content


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = _parse(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number}: not JSON ({error}); expected an object per line") from error
    if not isinstance(row, dict):
        raise UserError(f"{path}, line {number}: got a {type(row).__name__}, expected an object per line")
    return row


def _from_document(path: Path, document: Any) -> tuple[pd.DataFrame, str]:
    if isinstance(document, list):
        for number, row in enumerate(document, start=1):
            if not isinstance(row, dict):
                raise UserError(f"{path}: element {number} is a {type(row).__name__}; expected a list of objects")
        return _table(path, document), "JSON, a list of objects"
    if isinstance(document, dict) and _is_table(document):
        return _table(path, document["data"]), "JSON, schema and data"
    if isinstance(document, dict) and _is_split(document):
        return pd.DataFrame(document["data"], columns=document["columns"], dtype=object), "JSON, columns and data"
    if isinstance(document, dict) and _holds_columns(document):
        if _has_row_numbers(document):
            return _table(path, list(document.values())), "JSON, objects by row"
        columns = {name: _cells(column) for name, column in document.items()}
        return pd.DataFrame(columns, dtype=object), "JSON, lists by column"
    keys = f" with the keys {', '.join(list(document)[:5])}" if isinstance(document, dict) else ""
    raise UserError(f"{path}: got a JSON {_json_type(document)}{keys}; expected {FORMS}")


def _holds_columns(document: Mapping[str, Any]) -> bool:
    """Whether the values are lists of equal length, or objects with equal keys in equal order (pandas' to_json)."""
    values = list(document.values())
    if values and all(isinstance(value, list) for value in values):
        return len({len(value) for value in values}) == 1 and len(values) > 1
    return bool(values) and all(isinstance(value, dict) for value in values) and len({tuple(v) for v in values}) == 1


def _is_split(document: Mapping[str, Any]) -> bool:
    """Whether this is pandas' form with the names under "columns" and the rows under "data"."""
    columns, data = document.get("columns"), document.get("data")
    return (
        isinstance(columns, list)
        and isinstance(data, list)
        and all(isinstance(row, list) and len(row) == len(columns) for row in data)
    )


def _is_table(document: Mapping[str, Any]) -> bool:
    """Whether this is pandas' form with the rows under "data" and a schema."""
    data = document.get("data")
    return "schema" in document and isinstance(data, list) and all(isinstance(row, dict) for row in data)


def _has_row_numbers(document: Mapping[str, Any]) -> bool:
    """Whether the keys are row numbers, and those of the values are not: pandas' orient="index"."""
    inner = next(iter(document.values()))
    return (
        isinstance(inner, dict) and all(key.isdigit() for key in document) and not all(key.isdigit() for key in inner)
    )


def _cells(column: Any) -> list[Any]:
    return list(column.values()) if isinstance(column, dict) else column


def _table(path: Path, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as objects: pandas would turn integers next to a gap into floats. Raises UserError for too many."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    check_size(path, len(rows), len(columns))
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in columns})


def _json_type(document: Any) -> str:
    names: dict[type, str] = {dict: "object", list: "list", str: "string"}
    return names.get(type(document), "value")
