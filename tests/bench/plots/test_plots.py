"""Every plot as it is drawn: valid XML, no two texts that overlap, no legend, and colours from the page."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.plots import pareto, report_plots, speed_plots
from bench.plots.labels import text_width
from bench.plots.loss_curves import curve_of
from bench.plots.series import all_series
from bench.plots.style import PALETTE, Plot, log_ticks, plain_number
from bench.report.page import page_of
from bench.results.benchmark import BenchmarkRow, BenchResult, System
from bench.results.document import Results
from bench.results.measurements import Profile
from compress.results import LossEntry
from example_results import (
    BENCH,
    BUNDLE,
    FAILED,
    PROFILE,
    RESULTS,
    ROWS,
    TEACHER,
    ratio,
    row,
    with_bench,
    with_row,
    with_stages,
)
from svg_texts import overlapping_texts, text_boxes

HOSTILE_NAMES = (
    "a <b> & \"c\" 'd'", "🚀🚀🚀🚀🚀🚀", "מודל קטן", "نموذج صغير", "模型模型模型模型",
    "$x^2$ $\\frac$ #000000 id=\"q\"",
    "tab\tnew\nline\x00\x1b", "_underscore", "", "x" * 200, "a long name that goes on and on " * 6,
)  # fmt: skip


def bench_of(*systems: tuple[str, float, float | None], size_bytes: int = 8_000_000, **changes: Any) -> BenchResult:
    """A benchmark of students with these labels, milliseconds and scores, and of a teacher."""
    teacher = row(0, System(label="teacher", role="teacher", engine="torch"), 90_000_000, 0.87, 10.0, 1.0)
    students = [
        row(number, System(label=label, role="student", engine="onnxruntime"), size_bytes, score, ms, 10 / ms)
        for number, (label, ms, score) in enumerate(systems, 1)
    ]
    return replace(BENCH, rows=[teacher, *students], aa_control=None, **changes)


def drawings(results: Results) -> Iterator[str]:
    """Every drawing of a report."""
    page = page_of(results)
    plots = [page.pareto, page.curves, *(plot for section in page.sections for plot in section.plots)]
    for plot in plots:
        if plot is not None:
            yield from (plot.wide, plot.narrow)


def assert_is_readable(svg: str) -> None:
    assert not overlapping_texts(svg)
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") and root.get("width") is root.get("height") is None
    assert not [node for node in root.iter() if "legend" in node.get("id", "")]
    assert "#000000" not in re.sub(">[^<]*<", "><", svg), "text has the page's colour"
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
    _, _, width, _ = (float(value) for value in root.get("viewBox").split())
    page_width = 1120 if width > 600 else 358  # of the page at 1400 and at 390 pixels
    assert min(sizes) * page_width / width >= 10, "readable at the width of the page"


@pytest.fixture(scope="module")
def example() -> list[str]:
    return list(drawings(RESULTS))


def test_every_plot_of_the_example_is_readable(example):
    assert len(example) == 16
    for svg in example:
        assert_is_readable(svg)


def test_identifiers_are_unique_across_the_plots_of_a_page(example):
    identifiers = [node.get("id") for svg in example for node in ElementTree.fromstring(svg).iter() if node.get("id")]
    assert len(identifiers) == len(set(identifiers)) > 100
    references = {name for svg in example for name in re.findall(r'(?:href="#|url\(#)([^")]+)', svg)}
    assert references and references <= set(identifiers)


def test_hostile_names_are_readable_in_every_plot():
    rows = [
        replace(each, label=name, histogram=ROWS[BUNDLE].histogram)
        for name, each in zip(HOSTILE_NAMES, bench_of(*[("", 0.5 * 1.2**i, 0.85) for i in range(10)]).rows, strict=True)
    ]
    for each, like in zip(rows, [ROWS[TEACHER], *[ROWS[BUNDLE]] * 10], strict=True):
        object.__setattr__(each, "load", like.load)
        object.__setattr__(each, "profiles", [PROFILE] * (each.id > 0))
    results = with_bench(rows=[replace(each, threads=ROWS[BUNDLE].threads) for each in rows], aa_control=None)
    texts = set()
    for svg in drawings(results):
        assert_is_readable(svg)
        texts |= {text for text, _ in text_boxes(svg)}
    assert {"a <b> & \"c\" 'd', torch fp32", "מודל קטן", '$x^2$ $\\frac$ #000000 id="q", onnxruntime'} <= texts


@pytest.mark.parametrize(
    "bench",
    [
        replace(BENCH, rows=[replace(ROWS[TEACHER], comparisons_by_input={})], aa_control=None),
        bench_of(*[(f"variant {i}", 0.5 + 0.002 * i, 0.85 + 0.0005 * i) for i in range(19)]),
        bench_of(*[(f"variant {i}", 0.5, 0.85) for i in range(14)]),
        bench_of(*[(f"{i}, a long name that goes on and on {'and on ' * 9} {i}", 0.5, 0.85) for i in range(19)]),
        bench_of(*[(f"variant {i}", 0.5 * 1.4**i, 0.87) for i in range(8)]),
        bench_of(*[(f"variant {i}", 10.0 ** (i - 4), 0.8) for i in range(8)], size_bytes=0),
        replace(bench_of(("failed", 1.0, None)), metric="pearson_spearman"),
    ],
    ids=["one row", "near-equal", "identical", "long names", "equal scores", "many decades", "one score"],
)
def test_hostile_figures_are_readable(bench):
    plot = pareto.accuracy_against_latency(bench, 1)
    for svg in (plot.wide, plot.narrow):
        assert_is_readable(svg)
        scored = [each for each in bench.rows if each.score is not None]
        assert len(text_boxes(svg)) >= len(scored) + 3, "a name for each, and axes"


def test_a_plot_is_the_same_in_every_run():
    assert pareto.accuracy_against_latency(BENCH, BUNDLE) == pareto.accuracy_against_latency(BENCH, BUNDLE)


# -- accuracy against latency


def texts_of(plot: Plot) -> list[str]:
    return [text for text, _ in text_boxes(plot.wide)]


def test_the_recommended_bundle_is_emphasised():
    plot = pareto.accuracy_against_latency(BENCH, BUNDLE)
    assert "student int8-dynamic, onnxruntime (recommended)" in texts_of(plot) and "The ring marks" in plot.caption
    assert "TF-IDF + logistic regression" in texts_of(plot) and "teacher, torch fp32" in texts_of(plot)
    assert "font-weight: bold" in plot.wide or "font-weight: 700" in plot.wide
    plot = pareto.accuracy_against_latency(BENCH, None)
    assert not any("recommended" in text for text in texts_of(plot)) and "The ring" not in plot.caption


def test_the_caption_names_the_markers_that_are_drawn():
    caption = pareto.accuracy_against_latency(BENCH, None).caption
    assert "circles run in torch, squares in onnxruntime, triangles in scikit-learn, diamonds are other" in caption
    caption = pareto.accuracy_against_latency(bench_of(("a", 1.0, 0.8)), None).caption
    assert "triangles" not in caption and "diamonds" not in caption


def test_without_scores_there_is_no_plot():
    assert pareto.accuracy_against_latency(replace(BENCH, rows=[ROWS[FAILED]], aa_control=None), None) is None


def test_the_front_has_the_points_that_none_beats():
    points = [(2.0, 0.8), (1.0, 0.7), (3.0, 0.8), (1.0, 0.6), (4.0, 0.9), (5.0, 0.85)]
    assert pareto.pareto_front(points) == [(1.0, 0.7), (2.0, 0.8), (4.0, 0.9)]


def test_the_area_of_a_mark_is_proportional_to_the_size():
    bench = with_row(BUNDLE, size_bytes=22_500_000).stages.bench
    diameters = {point.series.name: point.diameter for point in pareto._points(bench, None)}
    assert diameters["teacher, torch fp32"] == 2 * diameters["student int8-dynamic, onnxruntime"] == pareto.LARGEST
    assert diameters["TF-IDF + logistic regression"] == pareto.SMALLEST


# -- the look


def test_systems_of_one_colour_differ_in_more_than_colour():
    series = all_series([*ROWS, *[replace(ROWS[BUNDLE], id=100 + i, label=f"another {i}") for i in range(6)]], BUNDLE)
    looks = [(each.colour, each.marker, each.dashes) for each in series.values()]
    assert len(set(looks)) == len(looks) == 13
    assert {series[row.id].colour for row in ROWS if row.role == "teacher"} == {PALETTE["orange"][0]}
    assert [each.name for each in series.values() if each.is_recommended] == [ROWS[BUNDLE].name]


def test_a_short_name_stays_unique():
    rows = [replace(ROWS[BUNDLE], id=0, label="a"), replace(ROWS[BUNDLE], id=1, label="b"), replace(ROWS[BUNDLE], id=2)]
    assert [each.short_name for each in all_series(rows, None).values()] == ["a", "b", "student int8-dynamic"]
    same = [replace(rows[0], id=number) for number in range(2)]
    assert [each.short_name for each in all_series(same, None).values()] == ["a, onnxruntime"] * 2


def test_text_in_every_colour_is_readable_on_its_page():
    for name, (light, dark) in PALETTE.items():
        if name != "line":
            assert min(contrast(light, "#ffffff"), contrast(dark, "#15171a")) >= 5, name


def contrast(first: str, second: str) -> float:
    """The contrast of two colours (WCAG 2.1)."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.4, 8.0, ["0.5", "0.7", "1", "1.5", "2", "3", "5", "7"]),
        (0.001, 10000, ["0.001", "0.01", "0.1", "1", "10", "100", "1000", "10000"]),
        (0.49, 0.51, ["0.492", "0.496", "0.5", "0.504", "0.508"]),
        (99999, 100001, ["99999.2", "99999.6", "100000", "100000.4", "100000.8"]),
    ],
)
def test_ticks_are_plain_numbers_that_do_not_overlap(low, high, expected):
    ticks = log_ticks(low, high, 420, lambda label: text_width(label, 12))
    assert [plain_number(tick) for tick in ticks] == expected


# -- the other plots


def test_the_factors_of_a_speedup_are_written_next_to_their_bars():
    steps = [("distillation", ratio(4.0)), ("runtime", ratio(0.5)), ("quantisation", ratio(1.0))]
    plot = report_plots.speedup_waterfall("a student", steps)
    assert {"x 4.00", "x 0.50", "x 1.00", "a student", "runtime"} <= set(texts_of(plot))
    assert_is_readable(plot.wide)
    assert_is_readable(plot.narrow)


def test_a_table_of_bars_keeps_the_largest_parts_and_sums_up_the_others():
    parts = [replace(PROFILE.parts[0], name=f"part {number}", ms=10.0 - number) for number in range(9)]
    profile = Profile(shape="1x128", ms=54.0, operations=1.0, parts=parts)
    plot = speed_plots.time_by_operator(BENCH, BUNDLE, [(BUNDLE, profile)])
    texts = texts_of(plot)
    assert "part 5" in texts and "part 6" not in texts and "all others" in texts
    assert {"10.0", "5.0", "9.0"} <= set(texts), "4 + 3 + 2 as one"
    assert "part 3" in [text for text, _ in text_boxes(plot.narrow)]


def test_every_loss_is_named_at_the_end_of_its_line():
    histories = {
        "intermediate": losses({"hidden": 1.0, "attention": 1.001, "embedding": 1.002}),
        "prediction": losses({"prediction": 100.0}),
        "teacher": losses({"labels": 0.5}, num_steps=1),
    }
    plot = report_plots.loss_curves(histories)
    assert {"hidden", "attention", "embedding", "prediction", "labels", "optimiser step"} <= set(texts_of(plot))
    assert_is_readable(plot.wide)
    assert_is_readable(plot.narrow)
    assert report_plots.loss_curves({}) is None
    assert report_plots.loss_curves({"teacher": []}) is None


def losses(parts: dict[str, float], num_steps: int = 30) -> list[LossEntry]:
    return [
        LossEntry(
            step=20 * step,
            epoch=1.0,
            loss=1.0,
            learning_rate=1e-3,
            parts={name: value / step for name, value in parts.items()},
        )
        for step in range(1, num_steps + 1)
    ]


def test_the_curves_of_two_runs_are_a_file_of_their_own():
    curves = [curve_of(name, losses({"hidden": value})) for name, value in (("projected", 1.0), ("random", 1.01))]
    svg = report_plots.compared_loss_curves(curves, "general")
    assert svg.startswith("<?xml") and "var(" not in svg
    assert not overlapping_texts(svg)


def test_a_plot_needs_something_to_draw():
    assert speed_plots.latency_by_length(BENCH, None) is None, "one length is no line"
    bare: list[BenchmarkRow] = [
        replace(each, histogram=None, size_by_part=None, load=None, threads=None) for each in ROWS
    ]
    bench = replace(BENCH, rows=bare)
    assert speed_plots.latency_distribution(bench, None) is None
    assert speed_plots.size_by_part(bench, None) is None
    assert speed_plots.latency_under_load(bench, None, 20.0) is None
    assert speed_plots.latency_by_threads(bench, None) is None


def test_a_regression_has_every_plot_too():
    drift = replace(RESULTS.stages.augment.drift, mean_change=0.5, spread=2.0, changed_share=None)
    results = with_stages(augment=replace(RESULTS.stages.augment, drift=drift))
    results = replace(results, metric="pearson_spearman", task_type="regression")
    assert sum(1 for _ in drawings(results)) == 16
