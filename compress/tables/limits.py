"""The largest table that is read: its bytes, rows, columns and cells."""

from collections.abc import Iterable
from gzip import GzipFile
from pathlib import Path
from typing import IO, Any

from compress.common.errors import UserError
from compress.reading.regular_files import MEGABYTE, in_megabytes

MAX_TABLE_BYTES = 200 * MEGABYTE  # of a file, and of its content when unpacked
MAX_ROWS = 2_000_000
MAX_COLUMNS = 2000
MAX_CELLS = 20_000_000
MAX_CELL_CHARACTERS = 1_000_000  # a longer cell of delimited text means that a quote was never closed
SMALLER = "keep a random sample of its rows"
CHUNK_BYTES = 1 << 20


def check_size(path: Path, num_rows: int, num_columns: int) -> None:
    """Raise UserError for too many rows, columns or cells."""
    if num_columns > MAX_COLUMNS:
        raise UserError(
            f"{path}: got {num_columns:,} columns, expected at most {MAX_COLUMNS:,}; keep the columns of texts and "
            "labels"
        )
    if num_rows > MAX_ROWS:
        raise UserError(f"{path}: got more than {MAX_ROWS:,} rows, expected at most that many; {SMALLER}")
    if num_rows * num_columns > MAX_CELLS:
        raise UserError(
            f"{path}: got {num_rows:,} rows of {num_columns:,} columns, expected at most {MAX_CELLS:,} cells; keep the "
            "columns of texts and labels"
        )


def check_cells(path: Path, columns: Iterable[tuple[str, Iterable[Any]]]) -> None:
    """Raise UserError for a cell with too many characters or bytes. `columns`: name and cells of each."""
    for name, cells in columns:
        for row, cell in enumerate(cells, start=1):
            if isinstance(cell, str | bytes) and len(cell) > MAX_CELL_CHARACTERS:
                raise too_long(f"{path}: column {name!r}, row {row}", len(cell))


def too_long(where: str, num_characters: int) -> UserError:
    """The error for a cell with too many characters."""
    return UserError(
        f"{where}: got a cell of {num_characters:,} characters, expected at most {MAX_CELL_CHARACTERS:,}; shorten it "
        "or delete the row"
    )


def too_large(path: Path) -> UserError:
    """The error for a file whose content is too large when unpacked."""
    most = in_megabytes(MAX_TABLE_BYTES)
    return UserError(f"{path}: unpacks to more than {most}, expected at most that; {SMALLER}")


def check_lines(path: Path, text: str) -> None:
    """Raise UserError for a text of too many lines, blank ones included."""
    if text.count("\n") + text.count("\r") > MAX_CELLS:
        raise UserError(f"{path}: got more than {MAX_CELLS:,} lines, expected at most that many; {SMALLER}")


def read_unpacked(path: Path, opened: IO[bytes] | GzipFile) -> bytes:
    """The content of an opened compressed file. Raises UserError if it is too large."""
    chunks, size = list[bytes](), 0
    while chunk := opened.read(CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_TABLE_BYTES:
            raise too_large(path)
    return b"".join(chunks)
