"""Accuracy against latency: every system as a mark with its name, and the Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, assert_never

import numpy as np

from bench.plots.labels import Array, Box, PointLabel, leader_line, place, points_along, shorten, text_width
from bench.plots.series import Series, all_series
from bench.plots.style import MUTED, TEXT, Canvas, Plot, around, draw_line, finish_layout, log_scale, plot, write
from bench.results.benchmark import BenchmarkRow, BenchResult

LARGEST, SMALLEST = 40.0, 7.0  # diameters of circles
# of a marker with the same area as a circle: the square of its size over that of the circle, its reach over the radius
MARKERS = {"o": (1.0, 1.0), "s": (0.785, 0.886), "D": (0.785, 1.25), "^": (1.57, 1.25)}
NARROW_SCALE = 0.78  # of all diameters on a phone
RING = 5.0  # from the mark to the ring of the recommended bundle
FRONT = "Pareto front"
RECOMMENDED = " (recommended)"
LEAST_RANGE = 0.01  # of the scores on their axis
MOST_OF_WIDTH = 0.68  # of the drawing, for a label


@dataclass(frozen=True, kw_only=True)
class Point:
    """A system with a score. `diameter`: of a circle whose area is proportional to the size on disk, if not tiny."""

    series: Series
    latency_ms: float
    score: float
    interval: tuple[float, float] | None
    marker: str
    diameter: float


def accuracy_against_latency(bench: BenchResult, recommended: int | None) -> Plot | None:
    """Each system as a mark: median latency from text to label (logarithmic) and score; None if nothing has a score.

    `recommended`: the id of the row to emphasise.
    """
    points = _points(bench, recommended)
    if not points:
        return None
    return plot(
        f"{bench.metric_name} against latency of every system in the table",
        lambda canvas: _figure(canvas, points, bench.metric_name),
        caption=_caption(bench, recommended),
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (latency, score) that no other point beats in both, from the fastest on."""
    front: list[tuple[float, float]] = []
    for latency, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((latency, score))
    return front


def _points(bench: BenchResult, recommended: int | None) -> list[Point]:
    series = all_series(bench.rows, recommended)
    measured = [row for row in bench.rows if row.score is not None and row.latency is not None]
    largest = max((row.size_bytes for row in measured), default=1) or 1
    return [
        Point(
            series=series[row.id],
            latency_ms=row.latency.median_ms,
            score=row.score,
            interval=row.score_interval,
            marker=_marker(row),
            diameter=max(LARGEST * (row.size_bytes / largest) ** 0.5, SMALLEST),
        )
        for row in measured
        if row.score is not None and row.latency is not None
    ]


def _caption(bench: BenchResult, recommended: int | None) -> str:
    words = {
        "o": "circles run in torch",
        "s": "squares in onnxruntime",
        "^": "triangles in scikit-learn",
        "D": "diamonds are other toolchains",
    }
    markers = {_marker(row) for row in bench.rows if row.score is not None and row.latency is not None}
    kinds = ", ".join(words[marker] for marker in words if marker in markers)
    ring = " The ring marks the recommended bundle." if recommended is not None else ""
    return (
        f"Up and to the left is better. The area of a mark is the size on disk; {kinds}. Vertical lines are 95 % "
        f"intervals of the score. No other system is both faster and better than one on the Pareto front.{ring}"
    )


def _marker(row: BenchmarkRow) -> str:
    if row.role == "peer":
        return "D"
    match row.engine:
        case "torch":
            return "o"
        case "onnxruntime":
            return "s"
        case "scikit-learn":
            return "^"
        case "openvino" | "ctranslate2":
            return "D"
    assert_never(row.engine)


def _figure(canvas: Canvas, points: Sequence[Point], metric: str) -> Any:
    scale = NARROW_SCALE if canvas.is_narrow else 1.0
    figure, axes = canvas.figure(470 + 18 * max(0, len(points) - 12))
    front = pareto_front([(point.latency_ms, point.score) for point in points])
    low, high = around([point.latency_ms for point in points], share=0.12)
    axes.plot(*zip(*front, (high, front[-1][1]), strict=True), "--", color=MUTED, linewidth=1.2, drawstyle="steps-post")
    for order, point in enumerate(sorted(points, key=lambda point: -point.diameter)):
        _draw(axes, point, scale, order + 3)
    log_scale(axes, "x", low, high, length=canvas.width - 70, size=canvas.font_size)
    axes.set_ylim(*_score_limits(points))
    axes.yaxis.get_major_formatter().set_useOffset(False)
    axes.set_xlabel("milliseconds from text to label, median at batch 1")
    title = shorten(metric, 0.8 * canvas.width, canvas.font_size)
    axes.set_title(title, color=MUTED, fontweight="normal", fontsize=canvas.font_size)
    axes.grid()
    finish_layout(figure)
    _label(figure, axes, canvas, points, [*front, (high, front[-1][1])], scale)
    return figure


def _draw(axes: Any, point: Point, scale: float, order: int) -> None:
    """A mark and its interval; the larger marks behind the smaller ones."""
    colour = point.series.colour
    at = (point.latency_ms, point.score)
    if point.interval is not None:
        axes.plot([point.latency_ms] * 2, point.interval, color=colour, linewidth=1.2, alpha=0.45, zorder=2)
    area = (point.diameter * scale) ** 2 * MARKERS[point.marker][0]
    axes.scatter(*at, s=area, marker=point.marker, color=colour, alpha=0.35, linewidth=0, zorder=order)
    axes.scatter(*at, s=area, marker=point.marker, facecolor="none", edgecolor=colour, linewidth=1.5, zorder=order)
    if point.series.is_recommended:
        axes.scatter(*at, s=area, marker=point.marker, color=colour, linewidth=0, zorder=order)
        ring = (2 * _reach(point, scale)) ** 2
        axes.scatter(*at, s=ring, marker="o", facecolor="none", edgecolor=TEXT, linewidth=1.5, zorder=order)


def _reach(point: Point, scale: float) -> float:
    """From the middle of a mark to its outermost point."""
    ring = RING if point.series.is_recommended else 0.0
    return point.diameter / 2 * scale * MARKERS[point.marker][1] + ring


def _score_limits(points: Sequence[Point]) -> tuple[float, float]:
    scores = [score for point in points for score in (point.score, *(point.interval or ()))]
    low, high = min(scores), max(scores)
    margin = max(0.06 * (high - low), (LEAST_RANGE - (high - low)) / 2)
    return low - margin, high + margin


def _label(
    figure: Any, axes: Any, canvas: Canvas, points: Sequence[Point], front: Sequence[tuple[float, float]], scale: float
) -> None:
    """Write the names next to the marks, and that of the front next to its end."""
    ordered = sorted(points, key=lambda point: not point.series.is_recommended)
    texts = [_text(point, canvas) for point in ordered]
    labels = []
    for point, text in zip(ordered, texts, strict=True):
        x, y = axes.transData.transform((point.latency_ms, point.score))
        labels.append(
            PointLabel(
                x=x,
                y=y,
                radius=_reach(point, scale),
                width=text_width(text, canvas.font_size, bold=point.series.is_recommended),
                height=canvas.line_height,
            )
        )
    corners = axes.transData.transform(front)
    end_x = (corners[-1][0] + corners[-2][0]) / 2
    labels.append(
        PointLabel(
            x=end_x, y=corners[-1][1], radius=1, width=text_width(FRONT, canvas.font_size), height=canvas.line_height
        )
    )
    area = axes.get_window_extent()
    frame = Box(left=area.x0 + 4, bottom=area.y0 + 4, right=canvas.width - 2, top=area.y1)
    boxes = place(labels, frame, _line_points(axes, points, corners))
    for label, box in zip(labels, boxes, strict=True):
        if (leader := leader_line(label, box)) is not None:
            draw_line(figure, [leader[:2], leader[2:]], zorder=2)
    middles = [(box.bottom + box.top) / 2 for box in boxes]
    for point, text, box, middle in zip(ordered, texts, boxes[:-1], middles[:-1], strict=True):
        write(figure, text, box.left, middle, canvas, color=point.series.colour, weight=point.series.weight)
    write(figure, FRONT, boxes[-1].left, middles[-1], canvas, color=MUTED, style="italic")


def _text(point: Point, canvas: Canvas) -> str:
    most = MOST_OF_WIDTH * canvas.width
    if not point.series.is_recommended:
        return point.series.label(canvas, most)
    return point.series.label(canvas, most - text_width(RECOMMENDED, canvas.font_size, bold=True)) + RECOMMENDED


def _line_points(axes: Any, points: Sequence[Point], front: Array) -> Array:
    """Points on the intervals and on the front, in the coordinates of the drawing."""
    stairs = [corner for start, end in pairwise(front) for corner in (start, (end[0], start[1]))]
    intervals = [
        axes.transData.transform([(point.latency_ms, end) for end in point.interval])
        for point in points
        if point.interval is not None
    ]
    return np.concatenate([points_along(np.array(corners)) for corners in (stairs, *intervals)])
