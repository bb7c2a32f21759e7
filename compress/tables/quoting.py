"""Parses the rows of delimited text, and decides what quotes mean.

In a comma-separated file, quotes enclose cells (RFC 4180). In a tab-separated one, they can also be text, as in GLUE's
files. Programs quote by one of a few rules, without exception; quotes that follow none of them are text.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.common.errors import UserError
from compress.tables.limits import MAX_CELL_CHARACTERS, MAX_CELLS, MAX_ROWS, check_size

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", "\x01": "control-A", "^": "caret", "~": "tilde"}
EXCEL_CELLS = 3  # cells with a comma, at least, before a tab-separated file counts as written by Excel
SAMPLED_CELLS = 10_000  # compared first
MOST_QUOTED_COLUMNS = 50  # columns that can be the only quoted one
NUMBER = re.compile(r"[-+]?[0-9]*[.,]?[0-9]+([eE][-+]?[0-9]+)?")

Rows = list[list[str]]
_Reading = tuple[Rows, list[int]]  # the rows, and the line on which each begins


class _MismatchError(Exception):
    """A row cannot be read. `line`: where it begins. `has_one_more`: whether it is the second, with a cell more."""

    def __init__(self, line: int, problem: str, *, has_one_more: bool = False) -> None:
        super().__init__(problem)
        self.line = line
        self.has_one_more = has_one_more


def read_rows(path: Path, text: str, delimiter: str) -> tuple[Rows, list[int], str]:
    """The rows, the line on which each begins, and the quoting in words (empty if quotes make no difference).

    Every row has as many cells as the first. Raises UserError if a row has not, and if two readings are plausible.
    """
    first = text.lstrip().partition("\n")[0].strip()
    quote = "'" if len(first) > 1 and first[0] == first[-1] == "'" and '"' not in text else '"'
    plain, mismatch = _try(path, text, delimiter, quote=None)
    if quote not in text:
        if plain is None:
            raise _refusal(path, mismatch, delimiter)
        return *plain, ""
    quoted, mismatch = _try(path, text, delimiter, quote=quote)
    if re.search(rf"(^|{re.escape(delimiter)}) +{quote}", text, flags=re.MULTILINE):
        spaced, _ = _try(path, text, delimiter, quote=quote, skips_space=True)
        quoted = spaced or quoted
    escaped = _escaped(path, text, delimiter) if '\\"' in text and quote == '"' else None
    is_contested = escaped is not None and quoted is not None and escaped[0] != quoted[0]
    if quoted is not None and '\\"' in text and (is_contested or not _is_written_so(text, quoted[0], delimiter)):
        raise UserError(
            f"{path}: the backslashes before quotes can be text, or mark quotes inside of a text, as Spark writes "
            "them; save the table with doubled quotes"
        )
    reading = quoted or escaped
    how = "quoted" if quoted is not None else "quoted, with a backslash before quotes"
    if reading is None:
        begins_quoted = plain is not None and any(cell.startswith('"') for row in plain[0] for cell in row)
        is_quoting = '\\"' in text and begins_quoted
        if plain is None or delimiter != "\t" or is_quoting or _has_marked_quotes(plain[0]):
            raise _refusal(path, mismatch, delimiter)
        return *plain, "not quoted"
    if plain is None:
        return *reading, how if quote == '"' else "in single quotes"
    if plain[0] == reading[0]:
        return *plain, ""
    written = _is_written_so(text if quoted is not None else _doubled(text), reading[0], delimiter)
    if len(plain[0]) != len(reading[0]) and (delimiter == "\t" or not written):
        raise UserError(
            f"{path}: the quotes can be text, or enclose line ends (the table then has {len(plain[0])} or "
            f"{len(reading[0])} lines with cells); double each quote that is text, and enclose its text in quotes"
        )
    if delimiter != "\t" or written:
        return *reading, how if quote == '"' else "in single quotes"
    if _has_marked_quotes(plain[0]) or _is_written_so(text, reading[0], delimiter, excel_cells=1):
        raise UserError(
            f"{path}: the quotes around cells can be text, or quoting; save the table as a .csv, where quotes around a "
            "cell are quoting"
        )
    return *plain, "not quoted"


def _try(
    path: Path, text: str, delimiter: str, *, quote: str | None, skips_space: bool = False
) -> tuple[_Reading | None, _MismatchError]:
    """A strict reading, or else why there is none. `quote`: the quoting character; None if quotes have no meaning."""
    rows, lines = list[list[str]](), list[int]()
    line, most_rows = 1, MAX_ROWS
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
        quotechar=quote or '"',
        skipinitialspace=skips_space,
        strict=True,
    )
    try:
        with large_cells():
            for row in reader:
                if row and rows and len(row) != len(rows[0]):
                    return None, _MismatchError(
                        line,
                        f"got {len(row)} cells, expected {len(rows[0])} as in the header",
                        has_one_more=len(rows) == 1 and len(row) == len(rows[0]) + 1,
                    )
                if row and (not rows or len(rows) == most_rows):
                    check_size(path, len(rows) + 1, len(row))
                    most_rows = min(MAX_ROWS, MAX_CELLS // len(row))
                if row:
                    rows.append(row)
                    lines.append(line)
                line = reader.line_num + 1
    except csv.Error as error:
        return None, _MismatchError(line, str(error))
    return (rows, lines), _MismatchError(0, "")


@contextmanager
def large_cells() -> Iterator[None]:
    """Raise the limit of the csv module to ours. It is 131,072 characters per cell, for the whole process."""
    before = csv.field_size_limit(MAX_CELL_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _escaped(path: Path, text: str, delimiter: str) -> _Reading | None:
    r"""Read `\"` inside of quotes as a quote. None if a backslash could have another meaning."""
    if '\\\\"' in text:
        return None
    reading, _ = _try(path, _doubled(text), delimiter, quote='"')
    if reading is None or any('""' in cell for row in reading[0] for cell in row):
        return None
    return reading


def _doubled(text: str) -> str:
    return text.replace('\\"', '""')


def _refusal(path: Path, mismatch: _MismatchError, delimiter: str) -> UserError:
    where, problem = f"{path}, line {mismatch.line}", str(mismatch)
    if problem.startswith("got "):
        name = DELIMITERS.get(delimiter, repr(delimiter))
        hint = (
            "; if the first column has no name, as R writes it, name it in the header" if mismatch.has_one_more else ""
        )
        return UserError(f"{where}: {problem}; put a text with {name}s in double quotes{hint}")
    return UserError(
        f"{where}: {problem}; a cell has at most {MAX_CELL_CHARACTERS:,} characters, and a quote inside a quoted text "
        "is doubled; is a quote left open?"
    )


def _has_marked_quotes(rows: Rows) -> bool:
    """Whether quotes around a cell seem to enclose it: quotes inside of it are doubled or follow a backslash."""
    return any(
        cell.startswith('"') and cell.endswith('"') and ('""' in cell[1:-1] or '\\"' in cell[1:-1])
        for row in rows
        for cell in row
    )


def _is_written_so(text: str, rows: Rows, delimiter: str, *, excel_cells: int = EXCEL_CELLS) -> bool:
    """Whether a program would write these rows as this text. Blank lines are ignored.

    Programs quote cells that need it, and by their rule also: no other cells, empty ones, all, all but empty ones, all
    but numbers, those of text columns, those of one column, or (Excel's tab-separated text) those with a comma.
    """
    squeezed = _squeeze(text)
    text_columns = {
        column for column in range(len(rows[0])) if not all(NUMBER.fullmatch(row[column]) for row in rows[1:])
    }
    rules: list[Callable[[str, int], bool]] = [
        lambda cell, _: False,
        lambda cell, _: not cell,
        lambda cell, _: True,
        lambda cell, _: bool(cell),
        lambda cell, _: not NUMBER.fullmatch(cell),
        lambda _, column: column in text_columns,
        *(lambda _, column, only=only: column == only for only in range(min(len(rows[0]), MOST_QUOTED_COLUMNS))),
    ]
    if delimiter == "\t" and sum("," in cell for row in rows for cell in row) >= excel_cells:
        rules.append(lambda cell, _: "," in cell)
    sample = rows[: max(2, SAMPLED_CELLS // len(rows[0]))]
    return any(
        squeezed.startswith(_squeeze(_written(sample, joint, rule, quotes_header=quotes_header)))
        and squeezed == _squeeze(_written(rows, joint, rule, quotes_header=quotes_header))
        for joint in (delimiter, f"{delimiter} ")
        for rule in rules
        for quotes_header in (False, True)
    )


def _written(rows: Rows, joint: str, rule: Callable[[str, int], bool], *, quotes_header: bool) -> str:
    """The rows as text. `joint`: the delimiter, or with a space. `rule`: whether a cell is quoted without need."""

    def cell_text(cell: str, column: int, *, is_header: bool) -> str:
        is_needed = any(character in cell for character in (joint[0], '"', "\n", "\r"))
        is_quoted = is_needed or (quotes_header if is_header else rule(cell, column))
        return '"' + cell.replace('"', '""') + '"' if is_quoted else cell

    return "\n".join(
        joint.join(cell_text(cell, column, is_header=number == 0) for column, cell in enumerate(row))
        for number, row in enumerate(rows)
    )


def _squeeze(text: str) -> str:
    """The text without blank lines."""
    return re.sub(r"[\r\n]+", "\n", text).strip("\n")
