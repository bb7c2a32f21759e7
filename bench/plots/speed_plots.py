"""The plots of speed and size: latency by length and its spread, size by part, latency under load, time by operator."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.ticker import NullLocator

from bench.plots.style import SERIES, STYLE, below, logarithmic, svg
from bench.results.benchmark import BenchmarkRow, BenchResult
from bench.results.measurements import Profile

PER_ROW = 0.34  # inches

Lines = Sequence[tuple[str, Sequence[tuple[float, float]]]]  # names, and points


def latency_by_length(bench: BenchResult) -> str | None:
    """The model alone at batch 1, median milliseconds over tokens, both logarithmic. None with fewer than two."""
    lengths = {shape: int(shape.removeprefix("1x")) for shape in bench.grid if shape.startswith("1x")}
    by_row = [
        (row.name, [(lengths[shape], at.median_ms) for shape, at in row.latency_by_shape.items() if shape in lengths])
        for row in bench.rows
    ]
    lines = [(name, sorted(points)) for name, points in by_row if len(points) > 1]
    if not lines:
        return None
    with pyplot.rc_context(STYLE):
        figure, axes = _lines(lines)
        _ticks_at(axes, sorted({length for _, points in lines for length, _ in points}))
        axes.set_xlabel("tokens of one text (log)")
        axes.set_ylabel("milliseconds, the model alone (log)")
        return svg(figure, "Latency against length of every model in the table")


def latency_spread(bench: BenchResult) -> str | None:
    """How the calls of each row are spread, text to label: a row of bars each, on one logarithmic axis."""
    histograms = [(row.name, row.histogram) for row in bench.rows if row.histogram is not None]
    if not histograms:
        return None
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(6.4, 0.8 + 0.42 * len(histograms)))
        for place, ((_, histogram), colour) in enumerate(zip(histograms, SERIES * 3, strict=False)):
            edges, counts = np.asarray(histogram.edges_ms), np.asarray(histogram.counts)
            heights = 0.85 * counts / counts.max()
            axes.bar(edges[:-1], heights, np.diff(edges), bottom=-place, align="edge", color=colour)
            axes.axhline(-place, color="#999999", linewidth=0.5)
        logarithmic(axes, "x")
        names = [name for name, _ in histograms]
        axes.set_yticks([0.3 - place for place in range(len(names))], names, fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("milliseconds from text to label at batch 1, every call (log)")
        axes.grid(axis="x", alpha=0.25)
        return svg(figure, "How the latencies of every model are spread")


def sizes_by_part(rows: Sequence[BenchmarkRow]) -> str | None:
    """Megabytes of each artefact, a bar of its parts each: of the rows on the CPU that are not compiled."""
    kept = [
        (row.name, row.size_by_part)
        for row in rows
        if row.size_by_part is not None and row.device == "cpu" and not row.compiled
    ]
    if not kept:
        return None
    parts = {
        "embedding": [size.embedding / 1e6 for _, size in kept],
        "encoder": [size.encoder / 1e6 for _, size in kept],
        "tokenizer": [size.tokenizer / 1e6 for _, size in kept],
        "other files": [size.other_files / 1e6 for _, size in kept],
    }
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(6.4, 0.9 + PER_ROW * len(kept)))
        for place, whole in enumerate(_stacked(axes, [name for name, _ in kept], parts)):
            axes.annotate(f"{whole:.1f}", (whole, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.margins(x=0.1)
        axes.set_xlabel("megabytes on disk")
        axes.legend(**{**below(4), "bbox_to_anchor": (0.5, -0.9 / figure.get_figheight())})
        return svg(figure, "Size by part of every artefact")


def latency_by_threads(bench: BenchResult) -> str | None:
    """Median milliseconds from text to label over the number of threads, both logarithmic. None with fewer than two."""
    lines = [
        (row.name, [(int(count), at.latency.median_ms) for count, at in row.threads.by_count.items()])
        for row in bench.rows
        if row.threads is not None and len(row.threads.by_count) > 1
    ]
    if not lines:
        return None
    with pyplot.rc_context(STYLE):
        figure, axes = _lines(lines)
        _ticks_at(axes, sorted({count for _, points in lines for count, _ in points}))
        axes.set_xlabel("threads (log)")
        axes.set_ylabel("milliseconds, text to label (log)")
        return svg(figure, "Latency against threads of every model")


def latency_under_load(rows: Sequence[BenchmarkRow], bound_ms: float) -> str | None:
    """The 99th percentile over the rate of arrivals, both logarithmic, with the bound."""
    by_row = [(row.name, row.load.probes) for row in rows if row.load is not None]
    lines = [
        (name, sorted((each.rate, each.latency.p99_ms) for each in probes if each.latency.p99_ms is not None))
        for name, probes in by_row
        if probes
    ]
    if not lines:
        return None
    with pyplot.rc_context(STYLE):
        figure, axes = _lines(lines)
        axes.axhline(bound_ms, color="#999999", linestyle="--", linewidth=1)
        axes.set_xlabel("texts a second that arrive (log)")
        axes.set_ylabel("99th percentile, milliseconds (log)")
        return svg(figure, "Latency under load")


def time_by_operator(profiles: Sequence[tuple[str, Profile]]) -> str:
    """Milliseconds of a call, a bar for each profile, by kind of operator. `profiles`: names and profiles."""
    kinds = dict.fromkeys(part.name for _, profile in profiles for part in profile.parts)
    parts = {
        kind: [sum(part.ms for part in profile.parts if part.name == kind) for _, profile in profiles] for kind in kinds
    }
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(6.4, 1.1 + PER_ROW * len(profiles)))
        _stacked(axes, [name for name, _ in profiles], parts)
        axes.set_xlabel("milliseconds of one call")
        axes.legend(**{**below(3), "bbox_to_anchor": (0.5, -0.8 / figure.get_figheight())})
        return svg(figure, f"Time by operator, {profiles[0][1].shape}")


def _lines(lines: Lines) -> tuple[Any, Any]:
    """A figure with a line through the points of each name, both axes logarithmic."""
    figure, axes = pyplot.subplots(figsize=(5.2, 3.9))
    for (name, points), colour in zip(lines, SERIES * 3, strict=False):
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4, linewidth=1.5, label=name)
    logarithmic(axes, "x", "y")
    axes.grid(alpha=0.25)
    axes.legend(**below(1))
    return figure, axes


def _ticks_at(axes: Any, values: Sequence[int]) -> None:
    """Ticks of the logarithmic x axis at these values and nowhere else."""
    axes.set_xticks(values, [str(value) for value in values])
    axes.xaxis.set_minor_locator(NullLocator())


def _stacked(axes: Any, names: Sequence[str], parts: Mapping[str, Sequence[float]]) -> np.ndarray:
    """A bar for each name, from the top down, made of the parts; returns how long each is."""
    ends = np.zeros(len(names))
    for (part, widths), colour in zip(parts.items(), SERIES, strict=False):
        axes.barh(range(len(names)), widths, left=ends, color=colour, height=0.65, label=part)
        ends = ends + widths
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    return ends
