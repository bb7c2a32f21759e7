"""Reads delimited text: finds the delimiter, and parses every row strictly.

A delimiter is used if it is the only one with which every row can be read. Otherwise the file is ambiguous and refused.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.common.errors import UserError
from compress.tables.quoting import DELIMITERS, Rows, read_rows

EXCEL_HINT = re.compile(r'"?sep=([^\r\n"])"?\r?\n', re.IGNORECASE)  # Excel's first line that names the delimiter


@dataclass(frozen=True, kw_only=True)
class Delimited:
    """The rows of a delimited text, the first one included. `lines`: the line on which each row begins.

    `description`: the dialect in words, such as "comma-separated, quoted".
    """

    rows: Rows
    lines: list[int]
    description: str


def parse(path: Path, text: str, *, is_tabbed: bool, columns: Sequence[str] = ()) -> Delimited:
    """Parse every row, with as many cells as the first row has. Raises UserError.

    `is_tabbed`: whether the file is a .tsv, in which only a tab separates cells. `columns`: names that the header must
    have, which rule out other delimiters.
    """
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}, line {line}: got a NUL byte, expected text; is it UTF-16 or truncated?")
    hint = EXCEL_HINT.match(text)
    if hint:
        return _with_delimiter(path, text[hint.end() :], hint[1], skipped_lines=1)
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    present = [delimiter for delimiter in DELIMITERS if delimiter in first]
    if "\t" in first and is_tabbed:
        present = ["\t"]
    if len(present) < 2:
        return _with_delimiter(path, text, *(present or ","))
    readings: dict[str, Delimited] = {}
    problems: dict[str, UserError] = {}
    for delimiter in present:
        try:
            readings[delimiter] = _with_delimiter(path, text, delimiter)
        except UserError as error:
            problems[delimiter] = error
    readings = {delimiter: reading for delimiter, reading in readings.items() if len(reading.rows[0]) > 1}
    if not readings:
        raise problems[max(problems, key=first.count)]
    named = {
        delimiter: reading
        for delimiter, reading in readings.items()
        if columns and {name.strip() for name in reading.rows[0]} >= set(columns)
    }
    if len(named or readings) > 1:
        names = "- or ".join(DELIMITERS[delimiter] for delimiter in named or readings)
        raise UserError(
            f"{path}: every row can be read as {names}-separated; put texts with one of these characters in double "
            "quotes, or save the table as a .tsv"
        )
    return next(iter((named or readings).values()))


def _with_delimiter(path: Path, text: str, delimiter: str, *, skipped_lines: int = 0) -> Delimited:
    rows, lines, quoting = read_rows(path, text, delimiter)
    separated = f"{DELIMITERS.get(delimiter, repr(delimiter))}-separated"
    return Delimited(
        rows=rows,
        lines=[line + skipped_lines for line in lines],
        description=f"{separated}, {quoting}" if quoting else separated,
    )
