"""Reads the only sheet of a workbook: .xlsx, .xlsb, .xls or .ods."""

import importlib.util
from pathlib import Path
from typing import Any

from compress.common.errors import UserError
from compress.common.extras import install_command
from compress.tables.binary_tables import read_sheets


def read_workbook(path: Path, content: bytes) -> list[list[Any]]:
    """All rows of the sheet, the first one included. Whole numbers become int. Raises UserError.

    Empty sheets are ignored. Two sheets with cells are refused.
    """
    if importlib.util.find_spec("python_calamine") is None:
        raise UserError(
            f"{path}: a workbook needs python-calamine; install it with: {install_command('excel')}, or save the "
            "sheet as CSV UTF-8"
        )
    sheets = read_sheets(path, content)
    filled = {name: rows for name, rows in sheets.items() if rows}
    if len(filled) > 1:
        raise UserError(
            f"{path}: the workbook has {len(filled)} sheets ({', '.join(filled)}); expected one; save the right one as "
            "CSV UTF-8, or delete the others"
        )
    rows: list[list[Any]] = next(iter(filled.values()), [])
    return [[_whole(cell) for cell in row] for row in rows]


def _whole(cell: Any) -> Any:
    """Excel stores every number as a float."""
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell
