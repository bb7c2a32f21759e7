"""Writes the rows of a table with their predictions, as delimited text, JSON lines or Parquet."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compress.common.errors import UserError
from compress.tables.table import suffix_of
from pocketbert.table_predictions.reading import EXPECTED, JSON_SUFFIXES, Window, require_pyarrow

GROUP_ROWS, GROUP_BYTES = 1 << 16, 1 << 26  # of a row group of Parquet, at most about
SUFFIXES = (".csv", ".tsv", *JSON_SUFFIXES, ".parquet")

Columns = Mapping[str, Sequence[Any]]  # new columns: a value per row
Write = Callable[[Window, Columns], None]


def require_format(path: Path) -> None:
    """Raise UserError for an output that cannot be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: cannot write a {path.suffix or 'file without suffix'}; {EXPECTED}")
    if path.suffix.lower() == ".parquet":
        require_pyarrow(path)


@contextmanager
def writer(
    file: Path, path: Path, *, types: Mapping[str, type], new_types: Mapping[str, type], schema: Any = None
) -> Iterator[Write]:
    """A function that writes a window with its new columns. `file`: what is written; the format is that of `path`.

    `types` and `new_types`: of the columns, by name. `schema`: of a table that was read from Parquet.
    """
    names = [*types, *new_types]
    match suffix_of(path):
        case ".parquet":
            with _parquet(file, types=types, new_types=new_types, schema=schema) as write:
                yield write
        case ".csv" | ".tsv":
            delimiter = "\t" if suffix_of(path) == ".tsv" else ","
            with file.open("w", encoding="utf-8", newline="") as stream:
                plain = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
                # csv leaves a carriage return unquoted, and readers take it for the end of the row
                quoted = csv.writer(stream, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

                def write_row(cells: Sequence[str]) -> None:
                    (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)

                def write_delimited(window: Window, columns: Columns) -> None:
                    for row in _joined(window, columns):
                        write_row([_cell(row.get(name)) for name in names])

                write_row(names)

                yield write_delimited
        case _:
            with file.open("w", encoding="utf-8", newline="\n") as stream:

                def write_json(window: Window, columns: Columns) -> None:
                    for row in _joined(window, columns):
                        stream.write(_json(row) + "\n")

                yield write_json


@contextmanager
def _parquet(file: Path, *, types: Mapping[str, type], new_types: Mapping[str, type], schema: Any) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow_types = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    old = schema if schema is not None else pa.schema([(name, arrow_types[each]) for name, each in types.items()])
    new = [pa.field(name, arrow_types[each]) for name, each in new_types.items()]
    whole = pa.schema([*old, *new], metadata=old.metadata)
    with pq.ParquetWriter(file, whole) as parquet:
        held = list[Any]()

        def write_held() -> None:
            if held:
                parquet.write_table(pa.concat_tables(held))
            held.clear()

        def write(window: Window, columns: Columns) -> None:
            if window.batch is not None:
                arrays = list(window.batch.columns)
            else:
                arrays = [
                    pa.array([_of_type(row.get(name), each) for row in window.rows], arrow_types[each])
                    for name, each in types.items()
                ]
            arrays += [pa.array(columns[field.name], field.type) for field in new]
            held.append(pa.Table.from_arrays(arrays, schema=whole))
            if sum(part.num_rows for part in held) >= GROUP_ROWS or sum(part.nbytes for part in held) >= GROUP_BYTES:
                write_held()

        yield write
        write_held()


def _joined(window: Window, columns: Columns) -> Iterator[dict[str, Any]]:
    for row, values in zip(window.rows, zip(*columns.values(), strict=True), strict=True):
        yield {**row, **dict(zip(columns, values, strict=True))}


def _cell(value: Any) -> str:
    """A value as the cell of a delimited text. Lists and objects become JSON."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # NaN
        return ""
    return _json(value) if isinstance(value, list | dict | bool) else _as_text(value)


def _json(value: Any) -> str:
    """JSON has no NaN and no infinity: NaN becomes null, and infinity text."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_as_text, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, default=_as_text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _as_text(value: Any) -> str:
    """A value that JSON lacks. Bytes are UTF-8, or else hexadecimal."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.hex()


def _of_type(value: Any, target: type) -> Any:
    """A value of a JSON line in a column of Parquet."""
    if value is None or isinstance(value, target):
        return value
    return _cell(value) if target is str else target(value)
