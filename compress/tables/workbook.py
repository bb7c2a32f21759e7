"""Reads the only sheet of a workbook: .xlsx, .xlsb, .xls or .ods."""

import io
from pathlib import Path
from typing import Any

from compress.common.errors import UserError, library_errors


def read_workbook(path: Path, content: bytes) -> list[list[Any]]:
    """All rows of the sheet, the first one included. Whole numbers become int. Raises UserError.

    Empty sheets are ignored. Two sheets with cells are refused.
    """
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        raise UserError(
            f"{path}: a workbook needs python-calamine; install it with: pip install 'pocketbert[excel]', or save the "
            "sheet as CSV UTF-8"
        ) from None
    with library_errors(f"{path}: not a readable workbook", advice="save the sheet as CSV UTF-8"):
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = {name: workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names}
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
