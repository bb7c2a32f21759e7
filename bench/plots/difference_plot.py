"""Differences from a reference as marks with two intervals each, one row per system, in groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.plots.bars import MOST_OF_WIDTH, RowName, row_axes, write_row_names
from bench.plots.labels import shorten
from bench.plots.style import BLUE, MUTED, Canvas, finish_layout, svg_file


@dataclass(frozen=True, kw_only=True)
class DifferenceMark:
    """A difference. `seeds`, `rows`: its intervals over seeds and over scored rows."""

    group: str
    name: str
    value: float
    seeds: tuple[float, float] | None
    rows: tuple[float, float]
    is_separable: bool


def differences(marks: Sequence[DifferenceMark], *, metric: str) -> str:
    """An SVG file: thick lines are intervals over rows, thin ones over seeds; filled marks differ from 0 by both."""
    return svg_file(lambda canvas: _figure(canvas, marks, metric))


def _figure(canvas: Canvas, marks: Sequence[DifferenceMark], metric: str) -> Any:
    most = canvas.width - 4 if canvas.is_narrow else MOST_OF_WIDTH * canvas.width
    rows: list[tuple[RowName, DifferenceMark | None]] = []
    for group, members in groupby(marks, key=lambda mark: mark.group):
        rows.append((RowName(text=shorten(group, most, canvas.font_size), weight="bold"), None))
        rows += [(RowName(text=shorten(each.name, most, canvas.font_size)), each) for each in members]
    names = [name for name, _ in rows]
    figure, axes = row_axes(canvas, names, "", below=60)
    axes.axvline(0, color=MUTED, linewidth=1.2)
    for row, (_, mark) in enumerate(rows):
        if mark is None:
            continue
        if mark.seeds is not None:
            axes.plot(mark.seeds, (-row, -row), color=BLUE, linewidth=1.2)
        axes.plot(mark.rows, (-row, -row), color=BLUE, linewidth=4, alpha=0.45, solid_capstyle="butt")
        face = BLUE if mark.is_separable else "white"
        axes.scatter(mark.value, -row, s=45, facecolor=face, edgecolor=BLUE, zorder=3)
    axes.set_xlabel(f"difference in {metric}; thick: interval over rows, thin: over seeds; filled: not 0 by both")
    axes.grid(axis="x")
    finish_layout(figure)
    write_row_names(figure, axes, canvas, names)
    return figure
