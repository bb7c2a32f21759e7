"""Reads one table from a local file: delimited text, JSON, Parquet or a workbook."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from compress.common.errors import UserError
from compress.reading.regular_files import read_bytes
from compress.tables import content, delimited
from compress.tables.binary_tables import read_parquet
from compress.tables.header import has_header
from compress.tables.json_records import read_json
from compress.tables.limits import MAX_TABLE_BYTES, SMALLER, check_cells, check_lines, check_size
from compress.tables.workbook import read_workbook

DELIMITED_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
WORKBOOK_SUFFIXES = (".xlsx", ".xlsb", ".xls", ".ods")
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")  # the usual ones, for messages
ALL_SUFFIXES = (*DELIMITED_SUFFIXES, *JSON_SUFFIXES, ".parquet", *WORKBOOK_SUFFIXES)
PARQUET_MAGIC = b"PAR1"
RULE_CHARACTERS = frozenset("-=:| +")  # of a line between header and rows


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with its cells unchanged. `reading`: how the file was read, such as "comma-separated, header, UTF-8"."""

    frame: pd.DataFrame
    reading: str


def suffix_of(path: Path) -> str:
    """The suffix that names the format, in lower case: .csv for REVIEWS.CSV and for reviews.csv.gz."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if len(suffixes) > 1 and suffixes[-1] in COMPRESSED_SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def read_table(path: Path, *, encoding: str = "utf-8", columns: Sequence[str] = ()) -> Table:
    """Read all columns of a local table. Text cells are kept as they are ("NA" stays text). Raises UserError.

    The format follows from the content and the suffix. `columns`: the names that the caller needs, which help to tell a
    header from a row. Columns of a file without a header have the names 1, 2, 3.
    """
    raw = read_bytes(path, most_bytes=MAX_TABLE_BYTES, remedy=SMALLER)
    suffix = suffix_of(path) if path.suffix.lower() != ".zip" else suffix_of(Path(content.only_member(path, raw)))
    if suffix not in ALL_SUFFIXES:
        raise UserError(f"{path}: cannot read {suffix or 'a file without suffix'}; expected {', '.join(SUFFIXES)}")
    unpacked, compression = (raw, "") if suffix in WORKBOOK_SUFFIXES else content.unpack(path, raw)
    if unpacked.startswith(PARQUET_MAGIC) or suffix == ".parquet":
        table = _from_parquet(path, unpacked)
    elif suffix in WORKBOOK_SUFFIXES and not content.is_workbook(unpacked) and unpacked[:2] != b"PK":
        raise UserError(f"{path}: not a workbook, but perhaps text; give it the suffix of its format, such as .csv")
    elif content.is_workbook(unpacked) or suffix in WORKBOOK_SUFFIXES:
        table = _from_rows(path, read_workbook(path, unpacked), list[int](), columns, "workbook")
    else:
        decoded = content.decode(path, unpacked, encoding)
        check_lines(path, decoded.text)
        if suffix in JSON_SUFFIXES:
            frame, form = read_json(path, decoded.text)
            table = Table(frame=frame, reading=f"{form}, {decoded.encoding}")
        else:
            table = _from_text(path, decoded, columns)
    if table.frame.empty:
        raise UserError(f"{path}: the table has no rows; expected a header and a row per text")
    check_size(path, *table.frame.shape)
    names = [str(name) for name in table.frame.columns]
    check_cells(path, zip(names, (table.frame.iloc[:, index] for index in range(len(names))), strict=True))
    duplicate = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if duplicate is not None:
        raise UserError(f"{path}: two columns have the name {duplicate!r}; rename one of them")
    reading = f"{table.reading}, {compression}" if compression else table.reading
    return Table(frame=table.frame.set_axis(names, axis=1), reading=reading)


def _from_parquet(path: Path, raw: bytes) -> Table:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(f"{path}: reading Parquet needs pyarrow; install it with: pip install pyarrow")
    return Table(frame=read_parquet(path, raw), reading="Parquet")


def _from_text(path: Path, decoded: content.Text, columns: Sequence[str]) -> Table:
    start = decoded.text.lstrip()[:1]
    if start and start in "{[" and _is_json(path, decoded.text):
        raise UserError(f"{path}: contains JSON; rename it to {path.stem}.jsonl")
    is_tabbed = suffix_of(path) in (".tsv", ".tab")
    parsed = delimited.parse(path, decoded.text, is_tabbed=is_tabbed, columns=columns)
    return _from_rows(path, parsed.rows, parsed.lines, columns, f"{parsed.description}, {{header}}, {decoded.encoding}")


def _is_json(path: Path, text: str) -> bool:
    try:
        read_json(path, text)
    except UserError:
        return False
    return True


def _from_rows(path: Path, rows: list[list[Any]], lines: Sequence[int], columns: Sequence[str], reading: str) -> Table:
    """A table from rows, of which the first may be a header. Empty rows and unnamed empty columns are left out.

    `lines`: the line of each row. `reading` may contain `{header}`.
    """
    lines = lines or range(1, len(rows) + 1)
    filled = [index for index, row in enumerate(rows) if any(map(_text, row))]
    num_blank = len(rows) - len(filled)
    rows, lines = [rows[index] for index in filled], [lines[index] for index in filled]
    if not rows:
        return Table(frame=pd.DataFrame(), reading="")
    used = [index for index in range(len(rows[0])) if any(_text(row[index]) for row in rows)]
    if len(used) < len(rows[0]):
        rows = [[row[index] for index in used] for row in rows]
    is_header = has_header(path, rows, columns)
    if is_header:
        names = [_name(cell, number) for number, cell in enumerate(rows[0], start=1)]
        _check_header(path, names, rows, lines)
        rows = rows[1:]
    else:
        names = [str(number) for number in range(1, len(rows[0]) + 1)]
    header = "header" if is_header else f"no header (the columns are 1 to {len(names)})"
    reading = reading.replace("{header}", header) if "{header}" in reading else f"{reading}, {header}"
    if num_blank:
        reading += f", {num_blank} blank rows left out"
    return Table(frame=pd.DataFrame(rows, columns=names, dtype=object), reading=reading)


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _name(cell: Any, number: int) -> str:
    return _text(cell) or f"unnamed {number}"


def _header_name(cell: Any) -> str:
    return _text(cell).strip('\ufeff"').casefold()


def _check_header(path: Path, names: list[str], rows: Sequence[Sequence[Any]], lines: Sequence[int]) -> None:
    duplicate = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if duplicate is not None:
        raise UserError(f"{path}, line {lines[0]}: the header names the column {duplicate!r} twice; rename one of them")
    in_any_order = sorted(name.casefold() for name in names)
    known = set(in_any_order)
    for line, row in zip(lines[1:], rows[1:], strict=True):
        if set("".join(map(_text, row))) <= RULE_CHARACTERS:
            raise UserError(f"{path}, line {line}: a line between header and rows, as in Markdown; delete it")
        if _header_name(row[0]) in known and sorted(map(_header_name, row)) == in_any_order:
            raise UserError(f"{path}, line {line}: repeats the header; were files joined? Delete the line")
