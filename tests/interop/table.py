"""The table of consumers and variants, as text and as the JSON file that the documents are made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.interop.cells import Cell

VARIANTS = ("fp32", "fp16", "int8-dynamic", "int8-static", "int4-static", "int8-weight", "int4-weight")


def read_cells(path: Path) -> dict[tuple[str, str], Cell]:
    """The cells of an earlier run by consumer and variant; none if there was no run."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    cells = [Cell(**{**cell, "failures": tuple(cell["failures"])}) for cell in content["cells"]]
    return {(cell.consumer, cell.variant): cell for cell in cells}


def write_cells(path: Path, cells: Sequence[Cell], notes: Mapping[str, str], about: Mapping[str, str]) -> None:
    """Write the file. `notes`: by consumer. `about`: the model, texts and machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"about": dict(about), "notes": dict(notes), "cells": [asdict(cell) for cell in cells]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def text_table(cells: Sequence[Cell]) -> str:
    """One line per consumer, one column per variant: labels changed and the largest difference of a probability."""
    variants = [name for name in VARIANTS if any(cell.variant == name for cell in cells)]
    variants += sorted({cell.variant for cell in cells} - set(variants))
    consumers = list(dict.fromkeys(cell.consumer for cell in cells))
    by_position = {(cell.consumer, cell.variant): cell for cell in cells}
    rows = [["consumer", *variants]]
    for consumer in consumers:
        entries = [by_position.get((consumer, variant)) for variant in variants]
        rows.append([consumer, *("" if cell is None else entry(cell) for cell in entries)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def entry(cell: Cell) -> str:
    """The content of one cell: "0, 2e-07", with "!" if a promise is broken; "fails" if it does not load."""
    mark = "!" if cell.is_broken else ""
    if cell.message:
        return f"{'not tried' if cell.message.startswith('not tried') else 'fails'}{mark}"
    batched = "" if not cell.changed_batched else f" ({cell.changed_batched} in batches)"
    return f"{cell.changed}{batched}, {max(cell.difference, cell.difference_batched or 0.0):.0e}{mark}"
