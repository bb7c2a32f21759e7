"""The plots of speed and size: latency by length and by threads, its distribution, load, size and time by part."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.plots.bars import bar_span, bar_table, row_axes, row_name, write_row_names
from bench.plots.lines import Line, draw_lines, label_ends, label_near, label_share, line_of
from bench.plots.series import Series, all_series
from bench.plots.style import (
    MUTED,
    Canvas,
    Plot,
    around,
    finish_layout,
    log_scale,
    plot,
    set_ticks_at,
)
from bench.results.benchmark import BenchResult
from bench.results.measurements import LatencyHistogram, Profile

MOST_COLUMNS, MOST_COLUMNS_NARROW = 7, 5  # of a table of bars
OTHERS = "all others"

Points = Sequence[tuple[float, float]]


def latency_by_length(bench: BenchResult, recommended: int | None) -> Plot | None:
    """Median milliseconds of the model only at batch 1, by tokens. None with fewer than two lengths.

    `recommended`, here and below: the id of the row to emphasise.
    """
    lengths = {shape: int(shape[2:]) for shape in bench.grid if shape[:2] == "1x" and shape[2:].isdecimal()}
    points = {
        row.id: [(lengths[shape], at.median_ms) for shape, at in row.latency_by_shape.items() if shape in lengths]
        for row in bench.rows
    }
    return _latency_lines(
        bench,
        recommended,
        points,
        description="Latency by input length",
        x_label="tokens of one text",
        y_label="milliseconds, model only",
    )


def latency_by_threads(bench: BenchResult, recommended: int | None) -> Plot | None:
    """Median milliseconds from text to label, by the number of threads. None with fewer than two numbers."""
    points = {
        row.id: [(int(count), at.latency.median_ms) for count, at in row.threads.by_count.items() if count.isdecimal()]
        for row in bench.rows
        if row.threads is not None
    }
    return _latency_lines(
        bench,
        recommended,
        points,
        description="Latency by number of threads",
        x_label="threads",
        y_label="milliseconds from text to label",
    )


def _latency_lines(
    bench: BenchResult,
    recommended: int | None,
    points: Mapping[int, Sequence[tuple[int, float]]],
    *,
    description: str,
    x_label: str,
    y_label: str,
) -> Plot | None:
    """A line for each row's points (by id) of which there are two or more, both axes logarithmic."""
    series = all_series(bench.rows, recommended)
    lines = {row_id: sorted(each) for row_id, each in points.items() if len(each) > 1}
    if not lines:
        return None

    def draw(canvas: Canvas) -> Any:
        figure, axes = canvas.figure(max(380.0, canvas.line_height * len(lines) + 100))
        named = [line_of(series[row_id], each, canvas) for row_id, each in lines.items()]
        draw_lines(axes, named)
        width, size = canvas.width - 60, canvas.font_size
        x_values = sorted({x for each in lines.values() for x, _ in each})
        share = label_share(named, canvas, width)
        low = x_values[0] / (x_values[-1] / x_values[0]) ** 0.02
        high = x_values[-1] * (x_values[-1] / x_values[0]) ** (share / (1 - share))
        y_limits = around([y for each in lines.values() for _, y in each], share=0.06)
        log_scale(axes, "y", *y_limits, length=280, size=size)
        axes.set(xscale="log", xlim=(low, high), xlabel=x_label)
        set_ticks_at(axes, "x", x_values, length=width, size=size)
        axes.set_title(y_label, color=MUTED, fontweight="normal", fontsize=size)
        finish_layout(figure)
        label_ends(figure, axes, canvas, named, canvas.width - 2)
        return figure

    return plot(description, draw)


def latency_distribution(bench: BenchResult, recommended: int | None) -> Plot | None:
    """A histogram of each row's calls, text to label, on one logarithmic axis."""
    series = all_series(bench.rows, recommended)
    histograms = [(series[row.id], row.histogram) for row in bench.rows if row.histogram is not None]
    if not histograms:
        return None
    return plot("The distribution of each system's latencies", lambda canvas: _distribution(canvas, histograms))


def _distribution(canvas: Canvas, histograms: Sequence[tuple[Series, LatencyHistogram]]) -> Any:
    names = [row_name(series, canvas) for series, _ in histograms]
    figure, axes = row_axes(canvas, names, "", below=60)
    bottom, top = bar_span(canvas)
    for row, (series, histogram) in enumerate(histograms):
        edges, counts = np.asarray(histogram.edges_ms), np.asarray(histogram.counts)
        heights = bottom - row + (top - bottom) * counts / max(counts.max(), 1)
        axes.stairs(heights, edges, baseline=bottom - row, fill=True, color=series.colour)
        axes.axhline(bottom - row, color=MUTED, linewidth=0.5)
    counted = [
        edge
        for _, histogram in histograms
        for low, high, count in zip(histogram.edges_ms, histogram.edges_ms[1:], histogram.counts, strict=False)
        if count
        for edge in (low, high)
    ]
    low, high = around(counted or histograms[0][1].edges_ms, share=0.02)
    log_scale(axes, "x", low, high, length=canvas.width * 0.6, size=canvas.font_size)
    axes.set_xlabel("milliseconds from text to label at batch 1, every call")
    axes.grid(axis="x")
    finish_layout(figure)
    write_row_names(figure, axes, canvas, names)
    return figure


def size_by_part(bench: BenchResult, recommended: int | None) -> Plot | None:
    """Megabytes of each artefact and of its parts, for the rows on the CPU that are not compiled."""
    series = all_series(bench.rows, recommended)
    sizes = [
        (series[row.id], row.size_by_part)
        for row in bench.rows
        if row.size_by_part is not None and row.device == "cpu" and not row.compiled
    ]
    if not sizes:
        return None
    parts = {
        "embedding": [size.embedding / 1e6 for _, size in sizes],
        "encoder": [size.encoder / 1e6 for _, size in sizes],
        "tokenizer": [size.tokenizer / 1e6 for _, size in sizes],
        "other files": [size.other_files / 1e6 for _, size in sizes],
    }
    columns = {"in all": [sum(each) for each in zip(*parts.values(), strict=True)], **parts}
    return plot(
        "Size by part of every artefact",
        lambda canvas: bar_table(canvas, "megabytes on disk", [row_name(each, canvas) for each, _ in sizes], columns),
    )


def latency_under_load(bench: BenchResult, recommended: int | None, bound_ms: float) -> Plot | None:
    """The 99th percentile by the rate of arrivals, both logarithmic, with the bound."""
    series = all_series(bench.rows, recommended)
    lines = {
        row.id: sorted((each.rate, each.latency.p99_ms) for each in row.load.probes if each.latency.p99_ms is not None)
        for row in bench.rows
        if row.load is not None
    }
    lines = {row_id: points for row_id, points in lines.items() if points}
    if not lines:
        return None
    return plot("Latency under load", lambda canvas: _load(canvas, series, lines, bound_ms))


def _load(canvas: Canvas, series: Mapping[int, Series], lines: Mapping[int, Points], bound_ms: float) -> Any:
    figure, axes = canvas.figure(max(400.0, canvas.line_height * 2 * len(lines) + 100))
    named = [line_of(series[row_id], points, canvas) for row_id, points in lines.items()]
    draw_lines(axes, named)
    axes.axhline(bound_ms, color=MUTED, linestyle="--", linewidth=1.2)
    points = [point for each in lines.values() for point in each]
    x_limits = around([rate for rate, _ in points], share=0.12)
    log_scale(axes, "x", *x_limits, length=canvas.width - 70, size=canvas.font_size)
    y_limits = around([bound_ms, *(p99_ms for _, p99_ms in points)], share=0.08)
    log_scale(axes, "y", *y_limits, length=300, size=canvas.font_size)
    axes.set_xlabel("arrivals, texts per second")
    axes.set_title("99th percentile, milliseconds", color=MUTED, fontweight="normal", fontsize=canvas.font_size)
    finish_layout(figure)
    bound = Line(
        name=f"bound: {bound_ms:g} ms", points=[(x_limits[0], bound_ms), (x_limits[1], bound_ms)], colour=MUTED
    )
    label_near(figure, axes, canvas, [*named, bound])
    return figure


def time_by_operator(bench: BenchResult, recommended: int | None, profiles: Sequence[tuple[int, Profile]]) -> Plot:
    """Milliseconds of a call by the type of operator. `profiles`: ids of rows, each with a profile of one shape."""
    series = all_series(bench.rows, recommended)
    shape = profiles[0][1].shape.replace("x", " x ")

    def draw(canvas: Canvas) -> Any:
        names = [row_name(series[row_id], canvas) for row_id, _ in profiles]
        most = MOST_COLUMNS_NARROW if canvas.is_narrow else MOST_COLUMNS
        columns = _largest_parts([profile for _, profile in profiles], most)
        return bar_table(canvas, f"milliseconds of one call on {shape} tokens", names, columns)

    return plot(f"Time by operator on {shape} tokens", draw)


def _largest_parts(profiles: Sequence[Profile], most: int) -> dict[str, list[float]]:
    """Milliseconds of each type of operator by profile, the slowest type first. The last of `most` is all others."""
    times: dict[str, list[float]] = {}
    for number, profile in enumerate(profiles):
        for part in profile.parts:
            times.setdefault(part.name, [0.0] * len(profiles))[number] += part.ms
    ranked = sorted(times, key=lambda name: -sum(times[name]))
    if len(ranked) <= most:
        return {name: times[name] for name in ranked}
    columns = {name: times[name] for name in ranked[: most - 1]}
    columns[OTHERS] = [sum(each) for each in zip(*(times[name] for name in ranked[most - 1 :]), strict=True)]
    return columns
