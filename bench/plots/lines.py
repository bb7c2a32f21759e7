"""Line plots with the name of each line at its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.plots.labels import Box, PointLabel, leader_line, place, points_along, shorten, spread_out, text_width
from bench.plots.series import Series
from bench.plots.style import Canvas, draw_line, write

GAP = 14.0  # between the end of a line and its label
MOST_OF_WIDTH = 0.42  # of the axes, for the labels


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line to draw, and its name. `marker`: empty for curves of many points."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    dashes: Any = "-"
    marker: str = ""
    weight: str = "normal"

    def width(self, canvas: Canvas) -> float:
        """The width of its name."""
        return text_width(self.name, canvas.font_size, bold=self.weight == "bold")


def line_of(series: Series, points: Sequence[tuple[float, float]], canvas: Canvas) -> Line:
    """The line of a system; that of the recommended one is bold."""
    return Line(
        name=series.label(canvas, MOST_OF_WIDTH * canvas.width),
        points=points,
        colour=series.colour,
        dashes=series.dashes,
        marker=series.marker,
        weight=series.weight,
    )


def draw_lines(axes: Any, lines: Sequence[Line]) -> None:
    """Draw the lines, without their names, on a grid."""
    for line in lines:
        axes.plot(
            *zip(*line.points, strict=True),
            color=line.colour,
            linestyle=line.dashes,
            marker=line.marker,
            linewidth=3 if line.weight == "bold" else 1.8,
        )
    axes.grid()


def label_share(lines: Sequence[Line], canvas: Canvas, width: float) -> float:
    """The share of axes of this width that the names need on the right of the lines."""
    return min((max(line.width(canvas) for line in lines) + GAP) / width, MOST_OF_WIDTH + 0.05)


def label_ends(figure: Any, axes: Any, canvas: Canvas, lines: Sequence[Line], right: float) -> None:
    """Write the names into a column on the right of all lines, up to `right`; a thin line leads to each."""
    area = axes.get_window_extent()
    ends = [axes.transData.transform(line.points[-1]) for line in lines]
    left = max(x for x, _ in ends) + GAP
    middles = spread_out([y for _, y in ends], canvas.line_height, area.y0, area.y1)
    for line, (x, y), middle in zip(lines, ends, middles, strict=True):
        if abs(middle - y) > 2 or left - x > GAP + 1:
            draw_line(figure, [(x + 4, y), (left - 2, middle)])
        name = shorten(line.name, right - left, canvas.font_size, bold=line.weight == "bold")
        write(figure, name, left, middle, canvas, color=line.colour, weight=line.weight)


def label_near(figure: Any, axes: Any, canvas: Canvas, lines: Sequence[Line]) -> None:
    """Write each name near the end of its line, off the lines."""
    labels = []
    for line in lines:
        x, y = axes.transData.transform(line.points[-1])
        labels.append(PointLabel(x=x, y=y, radius=4, width=line.width(canvas), height=canvas.line_height))
    area = axes.get_window_extent()
    frame = Box(left=area.x0 + 4, bottom=area.y0 + 4, right=canvas.width - 2, top=area.y1)
    corners = [axes.transData.transform(line.points) for line in lines]
    boxes = place(labels, frame, np.concatenate([points_along(each) for each in corners]))
    for line, label, box in zip(lines, labels, boxes, strict=True):
        if (leader := leader_line(label, box)) is not None:
            draw_line(figure, [leader[:2], leader[2:]])
        middle = (box.bottom + box.top) / 2
        write(figure, line.name, box.left, middle, canvas, color=line.colour, weight=line.weight)
