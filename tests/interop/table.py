"""The table of consumers and bundles, as text and as the JSON file that the documents are made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from compress.common.files import write_text
from tests.interop.cells import Cell

COLUMNS = (
    *("fp32", "fp16", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight"),
    *("pairs", "regression"),
)


def column_order(variant: str) -> tuple[int, str]:
    """The sorting key of a column."""
    return COLUMNS.index(variant) if variant in COLUMNS else len(COLUMNS), variant


def read_cells(path: Path) -> dict[tuple[str, str], Cell]:
    """The cells of an earlier run by consumer and variant; none if there was no run."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    cells = [Cell(**{**cell, "failures": tuple(cell["failures"])}) for cell in content["cells"]]
    return {(cell.consumer, cell.variant): cell for cell in cells}


def write_cells(path: Path, cells: Sequence[Cell], *, notes: Mapping[str, str], num_texts: int) -> None:
    """Write the file. `notes`: by consumer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"num_texts": num_texts, "notes": dict(notes), "cells": [asdict(cell) for cell in cells]}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def text_table(cells: Sequence[Cell]) -> str:
    """One line per consumer, one column per variant: labels changed and the largest difference of a probability."""
    variants = sorted({cell.variant for cell in cells}, key=column_order)
    by_position = {(cell.consumer, cell.variant): cell for cell in cells}
    rows = [["consumer", *variants]]
    for consumer in dict.fromkeys(cell.consumer for cell in cells):
        entries = [by_position.get((consumer, variant)) for variant in variants]
        rows.append([consumer, *("" if cell is None else entry(cell) for cell in entries)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def entry(cell: Cell) -> str:
    """The content of one cell, such as "0, 2e-07"; "no" if the bundle does not load; "!" after a broken promise."""
    mark = "!" if cell.is_broken else ""
    if cell.was_not_tried:
        return f"not tried{mark}"
    if cell.message:
        return f"no{mark}"
    batched = f" ({cell.changed_batched} in batches)" if cell.changed_batched else ""
    return f"{cell.changed}{batched}, {cell.largest_difference:.0e}{mark}"
