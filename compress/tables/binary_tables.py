"""Reads Parquet and workbooks in a process of its own, because a damaged file can crash their libraries."""

import io
from pathlib import Path
from typing import Any

from compress.reading import child_process
from compress.tables.limits import (
    MAX_CELL_CHARACTERS,
    MAX_TABLE_BYTES,
    check_cells,
    check_size,
    too_large,
    too_long,
)

ROWS_AT_ONCE = 500


def read_parquet(path: Path, content: bytes) -> Any:
    """The table of a Parquet file, with its cells as objects. Raises UserError."""
    problem = f"{path}: not a readable parquet table"
    return child_process.call_in_child(
        __name__, content, "parquet", str(path), problem=problem, advice="write it again"
    )


def read_sheets(path: Path, content: bytes) -> dict[str, list[list[Any]]]:
    """The rows of each sheet of a workbook, the first one included. Raises UserError."""
    problem, advice = f"{path}: not a readable workbook", "save the sheet as CSV UTF-8"
    sheets: dict[str, list[list[Any]]] = child_process.call_in_child(
        __name__, content, "workbook", str(path), problem=problem, advice=advice
    )
    return sheets


def _parquet_frame(content: bytes, path: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(content))
    check_size(Path(path), file.metadata.num_rows, file.metadata.num_columns)
    batches, num_rows, num_bytes = list[Any](), 0, 0
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False):
        for name, cells in zip(batch.schema.names, batch.columns, strict=True):
            if any(is_type(cells.type) for is_type in (pa.types.is_string, pa.types.is_large_string)):
                longest = pc.max(pc.utf8_length(cells)).as_py() or 0
                if longest > MAX_CELL_CHARACTERS:
                    raise too_long(f"{path}: column {name!r}", longest)
        num_rows, num_bytes = num_rows + batch.num_rows, num_bytes + batch.nbytes
        check_size(Path(path), num_rows, batch.num_columns)
        if num_bytes > MAX_TABLE_BYTES:
            raise too_large(Path(path))
        batches.append(batch)
    frame = pa.Table.from_batches(batches, schema=file.schema_arrow).to_pandas(use_threads=False)
    if frame.index.names != [None]:  # of pandas' set_index
        frame = frame.reset_index()
    return frame.astype(object)  # decodes all strings


def _sheets(content: bytes, path: str) -> dict[str, list[list[Any]]]:
    from python_calamine import CalamineWorkbook

    workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
    sheets = {}
    for name in workbook.sheet_names:
        rows = sheets[name] = workbook.get_sheet_by_name(name).to_python()
        check_size(Path(path), len(rows), len(rows[0]) if rows else 0)
        check_cells(Path(path), [(f"{number}", column) for number, column in enumerate(zip(*rows, strict=True), 1)])
    return sheets


def _read(content: bytes, form: str, path: str) -> Any:
    return _parquet_frame(content, path) if form == "parquet" else _sheets(content, path)


if __name__ == "__main__":
    child_process.answer(_read)
