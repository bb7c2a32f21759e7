"""Reads a table of any size, a window of rows at a time, by the rules of `compress.tables` where they allow it.

The delimiter, the quoting and the header follow from the first megabyte, instead of from the whole file. The other rows
must fit: a first pass checks all of them.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from compress.common.errors import UserError, library_errors
from compress.reading.regular_files import problem_of
from compress.tables.table import DELIMITED_SUFFIXES, suffix_of
from export.bundle.settings import parse_json
from pocketbert.table_predictions.dialect import Dialect, dialect_of, rows_in, whole_rows
from pocketbert.table_predictions.encodings import encoding_of, opened

JSON_SUFFIXES = (".jsonl", ".ndjson")
EXPECTED = "expected .csv, .tsv, .jsonl or .parquet"
WINDOW_ROWS = 16_384
WINDOW_CHARACTERS = 1 << 22
SAMPLE_CHARACTERS = 1 << 20
MOST_LINE_CHARACTERS = 16_000_000
PARQUET_BUFFER_BYTES = 1 << 20  # without a buffer, pyarrow reads a column of a whole row group at once

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Consecutive rows. `first`: the number of the first one, from 0. `batch`: the rows as read from Parquet."""

    first: int
    rows: Sequence[Row]
    batch: Any = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that can be read several times. `dialect`: for delimited text. `encoding`: None for Parquet."""

    path: Path
    encoding: str | None
    dialect: Dialect | None = None

    @property
    def description(self) -> str:
        """How delimited text is read, in words."""
        if self.dialect is None:
            return ""
        header = "header" if self.dialect.has_header else "no header"
        return f"{self.dialect.separation}, {header}, {self.encoding}"


def open_table(path: Path, *, encoding: str = "utf-8", columns: Sequence[str] = ()) -> Table:
    """Find out how a table is read. `columns`: names that it must have. Raises UserError."""
    problem = problem_of(path)
    if problem is not None:
        raise UserError(f"{path}: {problem}")
    suffix = suffix_of(path)
    if suffix == ".parquet":
        if path.suffix.lower() != ".parquet":
            raise UserError(f"{path}: a compressed Parquet file; decompress it first")
        require_pyarrow(path)
        return Table(path=path, encoding=None)
    if suffix not in (*DELIMITED_SUFFIXES, *JSON_SUFFIXES):
        raise UserError(f"{path}: cannot predict the rows of a {suffix or 'file without suffix'}; {EXPECTED}")
    codec = encoding_of(path, encoding)
    if suffix in JSON_SUFFIXES:
        return Table(path=path, encoding=codec)
    with opened(path) as file, io.TextIOWrapper(file, encoding=codec, newline="") as text:
        try:
            sample = text.read(SAMPLE_CHARACTERS)
            if text.read(1):
                sample = whole_rows(sample)
        except UnicodeError as error:
            raise _not_text(path, codec, error) from error
    if not sample.strip():
        raise UserError(f"{path}: the table has no rows; expected a header and a row per text")
    return Table(path=path, encoding=codec, dialect=dialect_of(path, sample, columns))


def require_pyarrow(path: Path) -> None:
    """Raise UserError if Parquet can be neither read nor written here."""
    import importlib.util

    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(f"{path}: Parquet needs pyarrow; install it with: pip install pyarrow")


def windows(table: Table, *, columns: Sequence[str] | None = None) -> Iterator[Window]:
    """All rows in order, in the same windows each time. Raises UserError for a row that cannot be read.

    `columns`: those that the rows of a Parquet file need; by default all. Other rows always have all.
    """
    if table.encoding is None:
        yield from _parquet_windows(table.path, columns)
        return
    rows = _json_rows(table) if table.dialect is None else _delimited_rows(table, table.dialect)
    first, held, size = 0, list[Row](), 0
    for row, num_characters in rows:
        held.append(row)
        size += num_characters
        if len(held) == WINDOW_ROWS or size > WINDOW_CHARACTERS:
            yield Window(first=first, rows=held)
            first, held, size = first + len(held), [], 0
    if held:
        yield Window(first=first, rows=held)


def window_limits() -> list[int]:
    """What decides where windows begin: with other limits, predictions of an earlier call do not fit."""
    return [WINDOW_ROWS, WINDOW_CHARACTERS]


def _lines(table: Table) -> Iterator[str]:
    """The lines with their ends, as written. Raises UserError."""
    path = table.path
    with (
        library_errors(f"{path}: cannot be read", advice="copy it again"),
        opened(path) as file,
        io.TextIOWrapper(file, encoding=table.encoding, newline="") as text,
    ):
        for number in count(1):
            try:
                line = text.readline(MOST_LINE_CHARACTERS)
            except UnicodeError as error:
                raise _not_text(path, table.encoding, error) from error
            if len(line) == MOST_LINE_CHARACTERS:
                raise UserError(
                    f"{path}, line {number}: got {len(line):,} characters or more; expected fewer in a line"
                )
            if not line:
                return
            yield line


def _not_text(path: Path, encoding: str | None, error: UnicodeError) -> UserError:
    return UserError(f"{path}: not {encoding} text ({error})", option="encoding")


def _json_rows(table: Table) -> Iterator[tuple[Row, int]]:
    for number, line in enumerate(_lines(table), start=1):
        if not line.strip("\ufeff \r\n\t"):
            continue
        where = f"{table.path}, line {number}"
        try:
            row = parse_json(line.strip("\ufeff").encode(), nan_is_null=True)
            if "\\u" in line:
                json.dumps(row, ensure_ascii=False).encode()  # raises UnicodeEncodeError for half of a surrogate pair
        except UnicodeEncodeError as error:
            raise UserError(f"{where}: got half of a surrogate pair; expected text") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: not JSON ({error}); expected an object per line") from error
        if not isinstance(row, dict):
            raise UserError(f"{where}: got a {type(row).__name__}; expected an object per line")
        yield row, len(line)


def _delimited_rows(table: Table, dialect: Dialect) -> Iterator[tuple[Row, int]]:
    lines = _lines(table)
    for _ in range(dialect.skipped_lines):
        next(lines)
    cells_of_rows = rows_in(table.path, lines, dialect)
    if dialect.has_header:
        next(cells_of_rows)
    for cells in cells_of_rows:
        yield dict(zip(dialect.names, cells, strict=True)), sum(map(len, cells))


def schema_of(table: Table) -> Any:
    """The schema of a Parquet file; None for other formats. Raises UserError."""
    if table.encoding is not None:
        return None
    import pyarrow.parquet as pq

    with _parquet_errors(table.path):
        return pq.read_schema(table.path)


def _parquet_windows(path: Path, columns: Sequence[str] | None) -> Iterator[Window]:
    import pyarrow.parquet as pq

    with _parquet_errors(path), pq.ParquetFile(path, buffer_size=PARQUET_BUFFER_BYTES) as file:
        first = 0
        for batch in file.iter_batches(batch_size=WINDOW_ROWS, use_threads=False):
            step = max(1, batch.num_rows * WINDOW_CHARACTERS // max(batch.nbytes, WINDOW_CHARACTERS))
            for start in range(0, batch.num_rows, step):
                part = batch.slice(start, step)
                yield Window(first=first + start, rows=_rows(part, columns), batch=part)
            first += batch.num_rows


def _parquet_errors(path: Path) -> AbstractContextManager[None]:
    return library_errors(f"{path}: not a readable Parquet table", advice="write it again")


def _rows(batch: Any, columns: Sequence[str] | None) -> list[Row]:
    """Columns of a part of a Parquet file as Python values. What Python has no value for becomes text."""
    import pyarrow as pa

    names = batch.schema.names if columns is None else columns
    values = []
    for name in names:
        column = batch.column(name)
        try:
            values.append(column.to_pylist())
        except (OverflowError, ValueError):  # such as a date after the year 9999
            values.append(column.cast(pa.string()).to_pylist())
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)] or [{}] * batch.num_rows
