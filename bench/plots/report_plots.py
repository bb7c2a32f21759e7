"""The plots of a run: score against latency, the speed-up taken apart, loss curves."""

from collections.abc import Sequence
from typing import assert_never

from matplotlib import pyplot

from bench.plots.loss_curves import Curve, curve_of
from bench.plots.style import SERIES, STYLE, below, drawn, logarithmic, svg
from bench.results.benchmark import BenchmarkRow, BenchResult
from bench.results.measurements import Ratio
from compress.results import LossEntry


def accuracy_against_latency(bench: BenchResult) -> str | None:
    """Each system as a point: median text-to-label latency (log) and score. None where nothing has a score."""
    points = [
        (row, row.latency.median_ms, row.score)
        for row in bench.rows
        if row.score is not None and row.latency is not None
    ]
    if not points:
        return None
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(5.2, 3.9))
        for (row, median_ms, score), colour in zip(points, SERIES * 3, strict=False):
            axes.scatter(
                median_ms, score, color=colour, s=60 + 3 * row.size_bytes / 1e6, marker=_marker(row), label=row.name
            )
            if row.score_interval is not None:
                axes.plot([median_ms] * 2, row.score_interval, color=colour, linewidth=1, alpha=0.6)
        front = _pareto([(median_ms, score) for _, median_ms, score in points])
        axes.plot(*zip(*front, strict=True), color="#999999", linewidth=1, linestyle="--", zorder=0)
        logarithmic(axes, "x")
        axes.set_xlabel("milliseconds from text to label, median at batch 1 (log)")
        axes.set_ylabel(bench.metric)
        axes.margins(0.12)
        axes.grid(alpha=0.25)
        axes.legend(**below(1), markerscale=0.6)
        return svg(figure, "Score against latency of every model in the table")


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
        case "openvino":
            return "v"
    assert_never(row.engine)


def _pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (latency, score) that no other beats in both, from the fastest on."""
    front: list[tuple[float, float]] = []
    for latency, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((latency, score))
    return front


def waterfall(steps: Sequence[tuple[str, Ratio]]) -> str:
    """The factors of a speed-up with their names, one upon the other on a logarithmic axis, each with its interval."""
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(5.2, 0.7 + 0.5 * len(steps)))
        reached = 1.0
        for place, ((_, ratio), colour) in enumerate(zip(steps, SERIES, strict=False)):
            top = reached * ratio.value
            axes.barh(place, top - reached, left=reached, color=colour, height=0.6)
            axes.plot([reached * ratio.low, reached * ratio.high], [place, place], color="#000000", linewidth=1.5)
            axes.annotate(
                f"x {ratio.value:.2f}", (max(reached, top), place), (6, 0), textcoords="offset points", va="center"
            )
            reached = top
        axes.set_yticks(range(len(steps)), [name for name, _ in steps])
        axes.invert_yaxis()
        logarithmic(axes, "x")
        axes.margins(x=0.18)
        axes.set_xlabel("times as fast as the teacher (log)")
        return svg(figure, "The speed-up taken apart")


def loss_curve(history: Sequence[LossEntry], title: str) -> str:
    """Every part of the loss over the steps of one stage."""
    curve = curve_of(title, history)
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(4.4, 2.8))
        for (name, losses), colour in zip(curve.parts.items(), SERIES, strict=False):
            axes.plot(curve.steps, losses, color=colour, label=name, linewidth=1.5)
        values = [loss for losses in curve.parts.values() for loss in losses]
        if min(values) > 0 and max(values) > 10 * min(values):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("loss")
        axes.grid(alpha=0.25)
        axes.legend(**below(3))
        return svg(figure, f"Loss curves of the {title} stage")


def compared_loss_curves(curves: Sequence[Curve], title: str) -> str:
    """The summed loss of the same stage in several runs; a file of its own."""
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(5.6, 3.6))
        for curve, colour in zip(curves, SERIES, strict=False):
            axes.plot(curve.steps, curve.losses, color=colour, label=curve.name, linewidth=1.5)
        logarithmic(axes, "y")
        axes.set_xlabel(f"optimiser step of the {title} stage")
        axes.set_ylabel("loss (log)")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
        return drawn(figure, facecolor="white")
