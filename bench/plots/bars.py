"""Rows of bars, each with its name on the left, or above it on a phone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from matplotlib import pyplot
from matplotlib.patches import Rectangle

from bench.plots.labels import shorten, text_width
from bench.plots.series import Series
from bench.plots.style import MUTED, TEXT, Canvas, write

MOST_OF_WIDTH = 0.36  # of a wide drawing, for the names
GAP = 12.0  # between columns
ROW, ROW_BELOW_NAME = 1.7, 2.7  # heights of a row, in lines of text
BAR = 0.9  # height of a bar, in lines of text


@dataclass(frozen=True, kw_only=True)
class RowName:
    """The name of a row, with its colour and font weight."""

    text: str
    colour: str = TEXT
    weight: str = "normal"


def row_name(series: Series, canvas: Canvas) -> RowName:
    """The name of a system's row; that of the recommended one is bold."""
    most = canvas.width - 4 if canvas.is_narrow else MOST_OF_WIDTH * canvas.width
    return RowName(text=series.label(canvas, most), colour=series.colour, weight=series.weight)


def row_height(canvas: Canvas) -> float:
    """The height of a row with its name, in points."""
    return (ROW_BELOW_NAME if canvas.is_narrow else ROW) * canvas.line_height


def bar_table(canvas: Canvas, title: str, names: Sequence[RowName], columns: Mapping[str, Sequence[float]]) -> Any:
    """A table of bars on one scale, each with its value. `columns`: the values of each column, by its heading."""
    height = row_height(canvas)
    name_width = _name_width(names, canvas)
    column_width = (canvas.width - name_width) / len(columns)
    headings = [_wrap(heading, column_width - GAP, canvas) for heading in columns]
    top = (1.6 + max(len(lines) for lines in headings)) * canvas.line_height
    total = top + height * len(names) + 4
    figure = pyplot.figure(figsize=(canvas.width / 72, total / 72))
    title = shorten(title, canvas.width - 4, canvas.font_size)
    write(figure, title, 2, total - canvas.line_height / 2, canvas, color=MUTED)
    longest = max(max(values) for values in columns.values()) or 1.0
    decimals = 1 if longest >= 10 else 2 if longest >= 1 else 3
    value_width = max(text_width(_text(each, decimals), canvas.font_size) for each in chain(*columns.values()))
    scale = (column_width - GAP - value_width - 4) / longest
    for row, name in enumerate(names):
        middle = total - top - (row + 0.5) * height
        _write_name(figure, name, 2, middle, canvas)
    for column, (lines, values) in enumerate(zip(headings, columns.values(), strict=True)):
        left = name_width + column * column_width
        for number, line in enumerate(reversed(lines)):
            write(figure, line, left, total - top + (number + 0.5) * canvas.line_height, canvas, color=MUTED)
        for row, (name, value) in enumerate(zip(names, values, strict=True)):
            middle = bar_middle(total - top - (row + 0.5) * height, canvas)
            bar = BAR * canvas.line_height
            at = (left / canvas.width, (middle - bar / 2) / total)
            size = (max(value * scale, 0.75 * (value > 0)) / canvas.width, bar / total)
            figure.add_artist(Rectangle(at, *size, color=name.colour, linewidth=0, transform=figure.transFigure))
            write(figure, _text(value, decimals), left + value * scale + 4, middle, canvas, weight=name.weight)
    return figure


def bar_middle(middle: float, canvas: Canvas) -> float:
    """The height of the middle of a bar, in points. `middle`: that of its row."""
    return middle - (canvas.line_height * 0.55 if canvas.is_narrow else 0.0)


def row_axes(canvas: Canvas, names: Sequence[RowName], title: str, below: float) -> tuple[Any, Any]:
    """Axes with a row for each name, from the top down. Row n is between -n - 0.5 and -n + 0.5.

    `below`: the height of what is under the axes.
    """
    figure, axes = canvas.figure(row_height(canvas) * len(names) + below + (2 * canvas.line_height if title else 0))
    if title:
        bold = text_width(title, canvas.font_size, bold=True) / text_width(title, canvas.font_size)
        axes.set_title(shorten(title, 0.6 * canvas.width / bold, canvas.font_size), fontsize=canvas.font_size)
    axes.set(ylim=(-len(names) + 0.5, 0.5), yticks=[])
    axes.spines["left"].set_visible(False)
    left = _name_width(names, canvas) / canvas.width
    figure.get_layout_engine().set(rect=(left, 0, 1 - left, 1))
    return figure, axes


def write_row_names(figure: Any, axes: Any, canvas: Canvas, names: Sequence[RowName]) -> None:
    """Write the names of the rows of finished axes."""
    for row, name in enumerate(names):
        _, middle = axes.transData.transform((axes.get_xlim()[0], -row))
        _write_name(figure, name, 2, middle, canvas)


def bar_span(canvas: Canvas) -> tuple[float, float]:
    """The bottom and the top of the bar of row 0 of `row_axes`."""
    middle = bar_middle(0.0, canvas) / row_height(canvas)
    half = BAR * canvas.line_height / row_height(canvas) / 2
    return middle - half, middle + half


def _write_name(figure: Any, name: RowName, left: float, middle: float, canvas: Canvas) -> None:
    above = canvas.line_height * 0.55 if canvas.is_narrow else 0.0
    write(figure, name.text, left, middle + above, canvas, color=name.colour, weight=name.weight)


def _name_width(names: Sequence[RowName], canvas: Canvas) -> float:
    """The width of the column of names; 0 where they are above their bars."""
    if canvas.is_narrow:
        return 0.0
    return GAP + max(text_width(name.text, canvas.font_size, bold=name.weight == "bold") for name in names)


def _text(value: float, decimals: int) -> str:
    least = 10.0**-decimals
    return f"<{least:g}" if 0 < value < least / 2 else f"{value:.{decimals}f}"


def _wrap(text: str, most: float, canvas: Canvas) -> list[str]:
    """The lines of a heading, broken between words to fit its column."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, canvas.font_size) <= most:
            lines[-1] = longer
        else:
            lines.append(shorten(word, most, canvas.font_size))
    return lines
