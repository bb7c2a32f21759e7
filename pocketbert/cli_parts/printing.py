"""Text output in a terminal or a pipe: tables, lines and paths."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from bench.report import table as bench_table
from compress.common.console import new_console
from compress.common.escaping import one_line

PIPE_WIDTH = 1000  # columns; a pipe cuts no name


def path(title: str, location: Path) -> None:
    """A file or folder, on one line whatever its length."""
    print_line(f"{title:<11}{location}")


def cells(content: bench_table.Table) -> None:
    """A table of a report."""
    table(content.header, content.cells)


def table(header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    """Columns of text: the first aligned left, the others right."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        grid.add_column(_cell(name), justify="left" if index == 0 else "right", overflow="fold")
    for cells in lines:
        grid.add_row(*map(_cell, cells))
    new_console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(grid)


def _cell(text: str) -> Text:
    return Text(one_line(text))


def print_line(text: str) -> None:
    """The text on one line, whatever its length."""
    new_console().print(one_line(text), soft_wrap=True)
