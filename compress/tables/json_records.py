"""Reads JSON: an object per line, a list of objects, or columns as pandas writes them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from compress.common.errors import UserError

FORMS = "an object per line, a list of objects, or lists of equal length by column"


class _DuplicateKeyError(ValueError):
    """An object names a key twice. The later value would replace the earlier one."""


def read_json(path: Path, text: str) -> tuple[pd.DataFrame, str]:
    """The rows of a JSON text with their cells unchanged, and the form that they were in. Raises UserError."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        return pd.DataFrame(), "JSON"
    try:
        first = _parse(lines[0][1])
    except _DuplicateKeyError as error:
        raise UserError(f"{path}, line {lines[0][0]}: {error}; rename one of them") from error
    except (ValueError, RecursionError) as error:
        if len(lines) == 1:
            raise UserError(f"{path}, line {lines[0][0]}: not JSON ({error}); expected {FORMS}") from error
        first = None  # a document over several lines
    if isinstance(first, dict) and (len(lines) > 1 or not (_is_split(first) or _holds_columns(first))):
        return _table([_row(path, number, line) for number, line in lines]), "JSON lines"
    try:
        document = _parse(text)
    except (ValueError, RecursionError) as error:
        number = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path}{number}: not JSON ({error}); expected {FORMS}") from error
    return _from_document(path, document)


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(f"an object has the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
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
        return _table(document), "JSON, a list of objects"
    if isinstance(document, dict) and _is_split(document):
        return pd.DataFrame(document["data"], columns=document["columns"], dtype=object), "JSON, columns and data"
    if isinstance(document, dict) and _holds_columns(document):
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


def _cells(column: Any) -> list[Any]:
    return list(column.values()) if isinstance(column, dict) else column


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as objects: pandas would turn integers next to a gap into floats."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in columns})


def _json_type(document: Any) -> str:
    names: dict[type, str] = {dict: "object", list: "list", str: "string"}
    return names.get(type(document), "value")
