"""The plots of a run: the factors of its speedup, and its loss curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from bench.plots.bars import MOST_OF_WIDTH, RowName, bar_span, row_axes, write_row_names
from bench.plots.labels import shorten, text_width
from bench.plots.lines import Line, draw_lines, label_ends, label_near, label_share
from bench.plots.loss_curves import Curve, curve_of
from bench.plots.series import DASHES
from bench.plots.style import (
    BLUE,
    MUTED,
    SERIES,
    TEXT,
    Canvas,
    Plot,
    around,
    finish_layout,
    log_scale,
    plot,
    set_ticks,
    svg_file,
    write,
)
from bench.results.measurements import Ratio
from compress.common.escaping import plot_text
from compress.results import LossEntry

PANEL = 230.0  # height of one stage's loss curves
FACTOR_ROOM = 0.25  # of the axis, for the factor behind the last bar


def speedup_waterfall(name: str, steps: Sequence[tuple[str, Ratio]]) -> Plot:
    """The factors of a system's speedup, each with its interval; each bar begins where the one before it ends."""
    return plot(
        f"The speedup of {plot_text(name)}, factor by factor", lambda canvas: _waterfall(canvas, plot_text(name), steps)
    )


def _waterfall(canvas: Canvas, title: str, steps: Sequence[tuple[str, Ratio]]) -> Any:
    most = canvas.width * (1.0 if canvas.is_narrow else MOST_OF_WIDTH)
    names = [RowName(text=shorten(plot_text(name), most, canvas.font_size)) for name, _ in steps]
    figure, axes = row_axes(canvas, names, title, below=60)
    bottom, top = bar_span(canvas)
    ends, reached = [1.0], 1.0
    for row, (_, ratio) in enumerate(steps):
        end = reached * ratio.value
        low, high = reached * ratio.low, reached * ratio.high
        middle = -row + (bottom + top) / 2
        axes.barh(middle, end - reached, left=reached, color=BLUE, alpha=0.75, height=top - bottom)
        axes.plot([low, high], [middle] * 2, color=TEXT, linewidth=1.5)
        if row + 1 < len(steps):
            axes.plot([end] * 2, [-row + bottom, -row - 1 + top], color=MUTED, linewidth=0.8, linestyle=":")
        ends += [end, low, high]
        reached = end
    lowest, highest = min(ends), max(*ends, min(ends) * 1.5)
    right = highest * (highest / lowest) ** (FACTOR_ROOM / (1 - FACTOR_ROOM))
    log_scale(axes, "x", lowest, right, length=canvas.width * 0.6, size=canvas.font_size)
    axes.set_xlabel("times as fast as the teacher in torch")
    axes.grid(axis="x")
    finish_layout(figure)
    write_row_names(figure, axes, canvas, names)
    reached = 1.0
    for row, (_, ratio) in enumerate(steps):
        end = max(reached, reached * ratio.value, reached * ratio.high)
        x, y = axes.transData.transform((end, -row + (bottom + top) / 2))
        write(figure, f"x {ratio.value:.2f}", x + 7, y, canvas)
        reached *= ratio.value
    return figure


def loss_curves(histories: Mapping[str, Sequence[LossEntry]]) -> Plot | None:
    """The parts of each stage's loss by step, in one panel for each stage. None without stages."""
    curves = [curve_of(name, history) for name, history in histories.items()]
    curves = [curve for curve in curves if curve.steps]
    if not curves:
        return None
    return plot(f"Loss curves of {', '.join(curve.name for curve in curves)}", lambda canvas: _panels(canvas, curves))


def compared_loss_curves(curves: Sequence[Curve], title: str) -> str:
    """The summed loss of one stage in several runs, as an SVG file."""
    return svg_file(lambda canvas: _compared(canvas, curves, title))


def _compared(canvas: Canvas, curves: Sequence[Curve], title: str) -> Any:
    figure, axes = canvas.figure(400)
    lines = [
        Line(
            name=shorten(plot_text(curve.name), MOST_OF_WIDTH * canvas.width, canvas.font_size),
            points=list(zip(curve.steps, curve.losses, strict=True)),
            colour=colour,
            dashes=dashes,
        )
        for curve, colour, dashes in zip(curves, SERIES, DASHES, strict=False)
    ]
    draw_lines(axes, lines)
    low, high = around([loss for curve in curves for loss in curve.losses], share=0.06)
    log_scale(axes, "y", low, high, length=320, size=canvas.font_size)
    axes.set_xlabel(f"optimiser step of the {title} stage")
    axes.set_title("loss", color=MUTED, fontweight="normal", fontsize=canvas.font_size)
    finish_layout(figure)
    label_near(figure, axes, canvas, lines)
    return figure


def _panels(canvas: Canvas, curves: Sequence[Curve]) -> Any:
    columns = 1 if canvas.is_narrow else _num_columns(len(curves))
    rows = -(-len(curves) // columns)
    figure, grid = canvas.figure(PANEL * rows, rows, columns, squeeze=False)
    panels = []
    for curve, axes in zip(curves, grid.flat, strict=False):
        lines = [
            Line(name=part, points=list(zip(curve.steps, losses, strict=True)), colour=colour, dashes=dashes)
            for (part, losses), colour, dashes in zip(curve.parts.items(), SERIES * 2, DASHES * 3, strict=False)
        ]
        _draw_panel(axes, canvas, curve, lines, canvas.width / columns - 60)
        panels.append((axes, lines))
    for axes in grid.flat[len(curves) :]:
        axes.set_axis_off()
    finish_layout(figure)
    for axes, lines in panels:
        label_ends(figure, axes, canvas, lines, axes.get_window_extent().x1 + 4)
    return figure


def _draw_panel(axes: Any, canvas: Canvas, curve: Curve, lines: Sequence[Line], width: float) -> None:
    """A stage's curves, with room for their names on the right."""
    draw_lines(axes, lines)
    losses = [loss for part in curve.parts.values() for loss in part]
    if min(losses) > 0 and max(losses) > 10 * min(losses):
        low, high = around(losses, share=0.06)
        log_scale(axes, "y", low, high, length=PANEL - 90, size=canvas.font_size)
    else:
        axes.yaxis.get_major_formatter().set_useOffset(False)
    share = label_share(lines, canvas, width)
    first, last = curve.steps[0], max(curve.steps[-1], curve.steps[0] + 1)
    axes.set_xlim(first - 0.02 * (last - first), last + (last - first) * share / (1 - share))
    most = max(2, int(width * (1 - share) / (2 * text_width(str(last), canvas.font_size))))
    ticks = MaxNLocator(min(most, 5), integer=True).tick_values(first, last)
    set_ticks(axes, "x", [tick for tick in ticks if first <= tick <= last])
    axes.set_title(curve.name, fontsize=canvas.font_size)
    axes.set_xlabel("optimiser step")


def _num_columns(panels: int) -> int:
    """The number of columns on a wide page."""
    return 2 if panels in (2, 4) else min(panels, 3)
