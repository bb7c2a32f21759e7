"""The dialect of delimited text, and the rows of text in a dialect. The rules are those of `compress.tables`."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.common.errors import UserError
from compress.tables import delimited
from compress.tables.header import has_header
from compress.tables.quoting import DELIMITERS, large_cells
from compress.tables.table import suffix_of

HEADER_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How delimited text is read. `quote`: None if quotes are text. `escaped`: a backslash marks a quote as text.

    `skipped_lines`: lines before the first row. `names`: of the columns. `has_header`: whether the first row has them.
    """

    delimiter: str
    quote: str | None
    skips_space: bool
    escaped: bool
    skipped_lines: int
    names: tuple[str, ...]
    has_header: bool

    @property
    def separation(self) -> str:
        """What separates cells, such as "comma-separated"."""
        return f"{DELIMITERS.get(self.delimiter, repr(self.delimiter))}-separated"

    @property
    def description(self) -> str:
        """What separates and quotes cells, in words."""
        return f"{self.separation}, " + ("without quoting" if self.quote is None else f"with quoting by {self.quote}")


def whole_rows(sample: str) -> str:
    """The sample without the rest of a row at its end: up to the last line end outside of quotes."""
    line_end = "\n" if "\n" in sample else "\r"
    end, num_quotes = len(sample), sample.count('"')
    while (last := sample.rfind(line_end, 0, end)) >= 0:
        num_quotes -= sample.count('"', last, end)
        if num_quotes % 2 == 0:
            return sample[: last + 1]
        end = last
    return sample


def dialect_of(path: Path, sample: str, columns: Sequence[str]) -> Dialect:
    """The dialect that reads the sample as `delimited.parse` does. Raises UserError if there is none."""
    parsed = delimited.parse(path, sample, is_tabbed=suffix_of(path) in (".tsv", ".tab"), columns=columns)
    hint = delimited.EXCEL_HINT.match(sample)
    is_header = has_header(path, parsed.rows[:HEADER_ROWS], columns)
    names = [
        (cell.strip() or f"unnamed {number}") if is_header else f"{number}"
        for number, cell in enumerate(parsed.rows[0], start=1)
    ]
    duplicate = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if duplicate is not None:
        raise UserError(f"{path}: the header names the column {duplicate!r} twice; rename one of them")
    if is_header and len(parsed.rows[0]) == 1 and not columns and len(names[0].split()) > 1:
        raise UserError(
            f"{path}: is the first line, {names[0]!r:.60}, a header or a text? Add a header, or use --text 1 if it is "
            "a text"
        )
    lines = sample.splitlines(keepends=True) if "\n" not in sample else io.StringIO(sample, newline="").readlines()
    skipped_lines = 1 if hint else 0
    for delimiter in [hint[1]] if hint else DELIMITERS:
        for quote, skips_space, escaped in (
            ('"', False, False), ('"', True, False), ('"', False, True), ("'", False, False), (None, False, False),
        ):  # fmt: skip
            dialect = Dialect(
                delimiter=delimiter,
                quote=quote,
                skips_space=skips_space,
                escaped=escaped,
                skipped_lines=skipped_lines,
                names=tuple(names),
                has_header=is_header,
            )
            try:
                with large_cells():
                    rows = [row for row in _reader(iter(lines[skipped_lines:]), dialect) if row]
            except csv.Error:
                continue
            if rows == parsed.rows:
                return dialect
    raise UserError(f"{path}: {parsed.description} in a way that can only be read as a whole; save it as .parquet")


def rows_in(path: Path, lines: Iterator[str], dialect: Dialect) -> Iterator[list[str]]:
    """The cells of each row that is not blank. Raises UserError for a row of another length."""
    reader = _reader(lines, dialect)
    while True:
        line = reader.line_num + 1 + dialect.skipped_lines
        try:
            with large_cells():
                row = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{path}, line {line}: {error}; the table is {dialect.description}; is a quote left open?"
            ) from error
        if row is None:
            return
        if row and len(row) != len(dialect.names):
            raise UserError(
                f"{path}, line {line}: got {len(row)} cells, expected {len(dialect.names)} as in the first row; "
                f"the table is {dialect.description}"
            )
        if row:
            yield row


def _reader(lines: Iterator[str], dialect: Dialect) -> Any:
    return csv.reader(
        (line.replace('\\"', '""') for line in lines) if dialect.escaped else lines,
        delimiter=dialect.delimiter,
        quoting=csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL,
        quotechar=dialect.quote or '"',
        skipinitialspace=dialect.skips_space,
        strict=True,
    )
