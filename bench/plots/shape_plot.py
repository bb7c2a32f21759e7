"""The weights of students against their latency, with the budget and the proposal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.plots.labels import text_width
from bench.plots.pareto import pareto_front
from bench.plots.style import BLUE, GREEN, MUTED, Canvas, around, finish_layout, log_scale, svg_file, write

OFFSET, RISE = 6.0, 9.0  # from a mark to its name, to the right and up, in points


@dataclass(frozen=True, kw_only=True)
class ShapeMark:
    """A timed shape. `weights`: of its layers, in millions. `fits`: the budget."""

    name: str
    latency_ms: float
    weights: float
    fits: bool
    is_proposed: bool


def latency_against_weights(marks: Sequence[ShapeMark], *, budget_ms: float, tokens: int) -> str:
    """An SVG file: each shape as a mark, the Pareto front of both, and the budget as a vertical line."""
    return svg_file(lambda canvas: _figure(canvas, marks, budget_ms, tokens))


def _figure(canvas: Canvas, marks: Sequence[ShapeMark], budget_ms: float, tokens: int) -> Any:
    figure, axes = canvas.figure(470)
    low, high = around([*(mark.latency_ms for mark in marks), budget_ms], share=0.15)
    front = pareto_front([(mark.latency_ms, mark.weights) for mark in marks])
    axes.plot(*zip(*front, (high, front[-1][1]), strict=True), "--", color=MUTED, linewidth=1.2, drawstyle="steps-post")
    axes.axvline(budget_ms, color=MUTED, linewidth=1.2)
    for mark in marks:
        colour = _colour(mark)
        face = colour if mark.fits else "none"
        axes.scatter(mark.latency_ms, mark.weights, s=90 if mark.is_proposed else 45, facecolor=face, edgecolor=colour)
    log_scale(axes, "x", low, high, length=canvas.width - 70, size=canvas.font_size)
    axes.set_ylim(0, 1.12 * max(mark.weights for mark in marks))
    axes.set_xlabel(f"milliseconds for a text of {tokens} tokens, median; filled marks are within the budget")
    axes.set_title("millions of weights in the layers", color=MUTED, fontweight="normal", fontsize=canvas.font_size)
    axes.grid()
    finish_layout(figure)
    taken: list[tuple[float, float, float]] = []
    for mark in sorted(marks, key=lambda mark: not mark.is_proposed):
        x, at = axes.transData.transform((mark.latency_ms, mark.weights))
        y = at + RISE
        name = f"{mark.name} (proposed)" if mark.is_proposed else mark.name
        width = text_width(name, canvas.font_size, bold=mark.is_proposed)
        left = min(x + OFFSET, canvas.width - width - 2)
        if any(abs(y - other) < canvas.line_height and left < right and left + width > start
               for start, right, other in taken):  # fmt: skip
            continue  # the table has its name
        taken.append((left, left + width, y))
        weight = "bold" if mark.is_proposed else "normal"
        write(figure, name, left, y, canvas, color=_colour(mark), weight=weight)
    return figure


def _colour(mark: ShapeMark) -> str:
    if mark.is_proposed:
        return GREEN
    return BLUE if mark.fits else MUTED
