"""Labels next to marks and lines: measures their width and finds positions at which no two labels overlap.

Coordinates are points (1/72 inch) from the lower left corner of a drawing. Equal input gives equal positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.font_manager import FontProperties, findfont, get_font

LINE_HEIGHT = 1.25  # of the font size
DESCENT = 0.32  # of the font size: from the bottom of a label to its baseline
UNKNOWN_WIDTH = 1.4  # of the font size: an emoji, the widest character that browsers take from another font

MOST_LETTERS = 300  # of a name, more than fit into any drawing
GAP = 4.0  # between a label and its mark
BETWEEN = np.array([10.0, 1.0])  # horizontally and vertically between two labels
LEADER_FROM = 6.0  # a label further than this from its mark gets a leader line
GRID = (12.0, 6.0)  # horizontal and vertical step of the search
NUM_WITH_LEADER = 200  # the cheapest positions of a label, for which its leader line is examined
NUM_PASSES = 3
# what a position costs, in points of distance from the mark
ON_LABEL, ON_MARK, ON_LEADER, ON_LINE = 1e6, 1e4, 300.0, 4.0
LEADER_ON_LABEL, LEADER_ON_LEADER, LEADER_ON_MARK = 2e3, 150.0, 25.0
ON_THE_LEFT = 1.0
OFF_CENTRE = 0.02  # for each point between the middles of label and mark

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle."""

    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, kw_only=True)
class PointLabel:
    """A text of `width` and `height` that belongs to a mark of `radius` at (`x`, `y`)."""

    x: float
    y: float
    radius: float
    width: float
    height: float


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a text in DejaVu Sans, which is wider than most fonts that browsers use."""
    return size * sum(_advance(character, bold) for character in text)


@cache
def _advance(character: str, bold: bool) -> float:
    """The width of a character at font size 1."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")))
    index = font.get_char_index(ord(character))
    if not index:
        return UNKNOWN_WIDTH
    font.set_size(100, 72)
    return float(font.load_glyph(index).linearHoriAdvance) / 65536 / 100


def shorten(text: str, most: float, size: float, *, bold: bool = False) -> str:
    """The text, with an ellipsis in its middle if it is wider than `most`."""
    if len(text) > MOST_LETTERS:  # the search below is slow
        text = f"{text[: MOST_LETTERS // 2]}…{text[-MOST_LETTERS // 2 :]}"
    if text_width(text, size, bold=bold) <= most:
        return text
    for kept in range(len(text) - 1, 1, -1):
        candidate = f"{text[: (kept + 1) // 2].rstrip()}…{text[len(text) - kept // 2 :].lstrip()}"
        if text_width(candidate, size, bold=bold) <= most:
            return candidate
    return "…"


def spread_out(wanted: Sequence[float], height: float, low: float, high: float) -> list[float]:
    """Centres of the labels of a column: as near as possible to those wanted, and at least `height` apart.

    They keep their order, between `low` and `high`. Raises ValueError if they do not fit.
    """
    if len(wanted) * height > high - low + 1e-6:
        raise ValueError(f"expected room for {len(wanted)} labels of height {height:g}, got {high - low:g}")
    order = sorted(range(len(wanted)), key=lambda number: wanted[number])
    groups: list[tuple[float, int]] = []  # isotonic regression: the lowest centre of a group, less its rank; its size
    for rank, number in enumerate(order):
        start, count = wanted[number] - rank * height, 1
        while groups and groups[-1][0] >= start:
            before, size = groups.pop()
            start, count = (before * size + start * count) / (size + count), size + count
        groups.append((start, count))
    starts = np.repeat([start for start, _ in groups], [count for _, count in groups])
    starts = np.clip(starts, low + height / 2, high + height / 2 - len(wanted) * height)
    centres = [0.0] * len(wanted)
    for rank, number in enumerate(order):
        centres[number] = float(starts[rank]) + rank * height
    return centres


def place(labels: Sequence[PointLabel], frame: Box, lines: Array) -> list[Box]:
    """A box for each label inside `frame`: near its mark and off other labels, marks and lines.

    `lines`: (points, 2), points of the lines that labels should not cover. Each label in turn takes the cheapest
    position of a grid. Later passes move a label if another position has become cheaper.
    """
    marks = [_square(label) for label in labels]
    searches = [_Search.of_label(label, marks, frame, lines) for label in labels]
    boxes: list[Box] = []
    for number, search in enumerate(searches):
        boxes.append(_cheapest(search, list(zip(labels[:number], boxes, strict=True)), marks))
    for _ in range(NUM_PASSES):
        before = list(boxes)
        for number, search in enumerate(searches):
            others = [pair for other, pair in enumerate(zip(labels, boxes, strict=True)) if other != number]
            boxes[number] = _cheapest(search, others, marks)
        if boxes == before:
            break
    return boxes


def points_along(corners: Array, count: int = 20) -> Array:
    """Points on the line through these corners, `count` between two of them."""
    return np.concatenate([corners, *(np.linspace(start, end, count) for start, end in pairwise(corners))])


def leader_line(label: PointLabel, box: Box) -> tuple[float, float, float, float] | None:
    """The line from a mark to its label (x and y of both ends); None for a label next to its mark."""
    leaders, distances = _leaders(label, _array([box]))
    if distances[0] <= LEADER_FROM:
        return None
    start_x, start_y, end_x, end_y = (float(value) for value in leaders[0])
    return start_x, start_y, end_x, end_y


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The candidate boxes of a label on a grid, with their costs apart from the other labels.

    `lefts`, `bottoms`: of the grid; arrays of candidates go through all lefts of the first bottom, then of the next.
    """

    label: PointLabel
    lefts: Array
    bottoms: Array
    candidates: Array
    leaders: Array
    distances: Array
    costs: Array

    @classmethod
    def of_label(cls, label: PointLabel, marks: Sequence[Box], frame: Box, lines: Array) -> "_Search":
        lefts, bottoms = _grid(label, frame)
        left, bottom = (each.ravel() for each in np.meshgrid(lefts, bottoms))
        candidates = np.stack([left, bottom, left + label.width, bottom + label.height], axis=1)
        leaders, distances = _leaders(label, candidates)
        costs = (
            distances
            + ON_THE_LEFT * (candidates[:, 2] < label.x)
            + OFF_CENTRE * np.abs((candidates[:, 0] + candidates[:, 2]) / 2 - label.x)
            + ON_MARK * _num_overlaps(label, lefts, bottoms, _array(marks), np.zeros(2))
            + ON_LINE * _num_overlaps(label, lefts, bottoms, np.concatenate([lines, lines], axis=1), np.zeros(2))
        )
        return cls(
            label=label,
            lefts=lefts,
            bottoms=bottoms,
            candidates=candidates,
            leaders=leaders,
            distances=distances,
            costs=costs,
        )


def _cheapest(search: _Search, others: Sequence[tuple[PointLabel, Box]], marks: Sequence[Box]) -> Box:
    """The best position of a label, given the other labels with their boxes."""
    boxes = _array([box for _, box in others])
    overlaps = _num_overlaps(search.label, search.lefts, search.bottoms, boxes, BETWEEN)
    costs = search.costs + ON_LABEL * overlaps
    best = np.argsort(costs, kind="stable")[:NUM_WITH_LEADER]
    candidates, leaders = search.candidates[best], search.leaders[best]
    points = _points_on(leaders)
    other_leaders = np.array([leader for each, box in others if (leader := leader_line(each, box))]).reshape(-1, 4)
    other_marks = _array([mark for mark in marks if mark != _square(search.label)])
    costs = costs[best] + ON_LEADER * _holds(candidates, _points_on(other_leaders).reshape(-1, 2)).sum(axis=1)
    costs += (search.distances[best] > LEADER_FROM) * (
        LEADER_ON_LABEL * _cross_boxes(points, boxes)
        + LEADER_ON_MARK * _cross_boxes(points, other_marks)
        + LEADER_ON_LEADER * _cross(leaders, other_leaders)
    )
    left, bottom, right, top = (float(value) for value in candidates[np.argmin(costs)])
    return Box(left=left, bottom=bottom, right=right, top=top)


def _grid(label: PointLabel, frame: Box) -> tuple[Array, Array]:
    """Left and bottom edges of the candidate boxes: those right next to the mark, and a grid over the frame."""
    most_left, lowest = max(frame.right - label.width, frame.left), max(frame.top - label.height, frame.bottom)
    beside = [label.x + label.radius + GAP, label.x - label.radius - GAP - label.width, label.x - label.width / 2]
    level = [label.y - label.height / 2, label.y + label.radius + GAP, label.y - label.radius - GAP - label.height]
    lefts = np.concatenate([beside, np.arange(frame.left, most_left + 1e-6, GRID[0])])
    bottoms = np.concatenate([level, np.arange(frame.bottom, lowest + 1e-6, GRID[1])])
    return np.clip(lefts, frame.left, most_left), np.clip(bottoms, frame.bottom, lowest)


def _leaders(label: PointLabel, boxes: Array) -> tuple[Array, Array]:
    """The leader lines (boxes, 4) from the mark to each box, and the distances (boxes,) between mark and box."""
    left, bottom, right, top = boxes.T
    nearest_x, nearest_y = np.clip(label.x, left, right), np.clip(label.y, bottom, top)
    distances = np.maximum(np.hypot(nearest_x - label.x, nearest_y - label.y) - label.radius, 0.0)
    outside = (label.x < left) | (label.x > right)
    end_y = np.where(outside, (bottom + top) / 2, nearest_y)
    length = np.maximum(np.hypot(nearest_x - label.x, end_y - label.y), 1e-9)
    share = np.minimum(label.radius / length, 1.0)
    start_x, start_y = label.x + share * (nearest_x - label.x), label.y + share * (end_y - label.y)
    return np.stack([start_x, start_y, nearest_x, end_y], axis=1), distances


def _square(label: PointLabel) -> Box:
    """The square around a mark."""
    half = max(label.radius, 1.0)
    return Box(left=label.x - half, bottom=label.y - half, right=label.x + half, top=label.y + half)


def _array(boxes: Sequence[Box]) -> Array:
    return np.array([[box.left, box.bottom, box.right, box.top] for box in boxes]).reshape(-1, 4)


def _num_overlaps(label: PointLabel, lefts: Array, bottoms: Array, boxes: Array, gap: Array) -> Array:
    """(candidates,): how many of the boxes are nearer than `gap` (horizontally, vertically) to each candidate."""
    on_x = (lefts[:, None] < boxes[:, 2] + gap[0]) & (boxes[:, 0] < lefts[:, None] + label.width + gap[0])
    on_y = (bottoms[:, None] < boxes[:, 3] + gap[1]) & (boxes[:, 1] < bottoms[:, None] + label.height + gap[1])
    return (on_y.astype(float) @ on_x.astype(float).T).ravel()


def _holds(boxes: Array, points: Array) -> Array:
    """(boxes, points): whether a box holds a point."""
    return np.all((boxes[:, None, :2] < points[None]) & (points[None] < boxes[:, None, 2:]), axis=-1)


def _points_on(lines: Array) -> Array:
    """(lines, 16, 2): points on each line, its ends left out."""
    shares = np.linspace(0.02, 0.98, 16)[None, :, None]
    return lines[:, None, :2] * (1 - shares) + lines[:, None, 2:] * shares


def _cross_boxes(points: Array, boxes: Array) -> Array:
    """(lines,): how many boxes each line crosses, given the points on it."""
    inside = (boxes[None, None, :, :2] < points[:, :, None]) & (points[:, :, None] < boxes[None, None, :, 2:])
    return np.all(inside, axis=-1).any(axis=1).sum(axis=1)


def _cross(lines: Array, others: Array) -> Array:
    """(lines,): how many of the other lines each line crosses."""
    start, end, other_start, other_end = (
        lines[:, None, :2],
        lines[:, None, 2:],
        others[None, :, :2],
        others[None, :, 2:],
    )
    apart = _side(start, end, other_start) * _side(start, end, other_end) < 0
    return (apart & (_side(other_start, other_end, start) * _side(other_start, other_end, end) < 0)).sum(axis=1)


def _side(start: Array, end: Array, point: Array) -> Array:
    """The side of a line on which a point is, as the sign of a cross product."""
    along, aside = end - start, point - start
    return along[..., 0] * aside[..., 1] - along[..., 1] * aside[..., 0]
