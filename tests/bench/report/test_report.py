"""The report: the same figures in every part of it, and every part of it rendered."""

import json
from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import jsonschema
import pytest
from jinja2 import nodes

from bench.plots.style import PALETTE, Plot
from bench.report import parity_table, render, table
from bench.report.caveats import caveats_of
from bench.report.page import ReportPage, page_of
from bench.report.render import html_of, markdown_of, write_reports
from bench.report.sections import sections
from bench.results.benchmark import TEXTS
from bench.results.document import (
    FORMAT_VERSION,
    Results,
    SplitSizes,
    StageResults,
    read_results,
    results_schema,
    write_results,
)
from bench.results.measurements import Gpu, Ratio
from bench.results.phrases import phrases_for
from compress.common.errors import UserError
from compress.results import LabelDrift
from example_results import (
    BASELINE,
    BENCH,
    BUNDLE,
    CUDA,
    EXPORT,
    FAILED,
    PARITY,
    RESULTS,
    ROWS,
    STUDENT,
    TEACHER,
    summary,
    with_bench,
    with_row,
    with_run,
    with_stages,
)
from export.results import Example, MetricDifference


def without_caveats() -> Results:
    """A benchmark alone, of one model, that leaves nothing to doubt and out whatever can be left out."""
    row = replace(
        ROWS[TEACHER],
        latency=summary(10.0, n=400, p99=30.0),
        score=None,
        score_interval=None,
        latency_by_shape={},
        speedup_by_shape={},
        histogram=None,
        size_by_part=None,
        load=None,
        threads=None,
    )
    bench = replace(
        BENCH, rows=[row], absent=[], aa_control=None, text_lengths=None, ceilings=None, load=None, thread_counts=None
    )
    return Results(name="bare", metric="accuracy", task_type="classification", stages=StageResults(bench=bench))


def test_the_table_shows_figures_and_what_was_not_measured():
    of_run = table.benchmark_table(RESULTS)
    assert of_run.cells[BUNDLE] == (
        "student int8-dynamic, onnxruntime", "8.0 MB", "7.00 M", "0.850", "0.50", "0.75", "1.00",
        "too few", "20.00 (18.00-22.00)", "2000",
    )  # fmt: skip
    assert "no CUDA here" in of_run.cells[FAILED]
    assert of_run.cells[-1] == ("teacher, onnxruntime", "-", "-", "-", "not measured", *["-"] * 5)
    assert {len(line) for line in of_run.cells} == {len(of_run.header)} == {len(table.HEADER)}
    assert (
        "accuracy (test)" in of_run.header
        and "accuracy (dev)" in table.benchmark_table(with_run(selected_on_test=True)).header
    )
    assert "accuracy (--data)" in table.benchmark_table(replace(RESULTS, run=None)).header


def test_the_report_is_one_file_that_asks_for_nothing(tmp_path):
    write_reports(RESULTS, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for figure in ("97.7%", "20.0x", "11.2x", "0.850", "2 of 100", "less than 99.00%", "a &lt;i&gt; text"):
        assert figure in page
    assert "a &lt;b&gt; recipe" in page and "a <b> recipe" not in page
    without_namespaces = page.replace("http://www.w3.org/", "").replace("http-equiv", "")
    assert "http" not in without_namespaces and "<script" not in page and "@import" not in page
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| student int8-dynamic, onnxruntime | 8.0 MB |" in text
    assert "| model | 8 tokens | 128 tokens | 16 x 32 tokens |" in text
    assert "| student int8-dynamic, onnxruntime | - | 2.00 ms, x20.0 | 0.50 ms, x20.0 |" in text
    assert "| prediction | 40 | 12 s from step 20 on | 0.800 0.850 |" in text
    assert "**97.7%** of the teacher's accuracy kept" in text
    assert "A/A control: student, torch fp32 compared with itself gives 1.01" in text
    assert "| int8-dynamic | distillation, in torch | onnxruntime and fusion | int8-dynamic weights | total |" in text
    assert "| text to label | 5.00 (4.80-5.20) | 2.00 (1.90-2.10) | 2.00 (1.90-2.10) | 20.00 (18.00-22.00) |" in text
    assert "| teacher fp32, onnxruntime | 9.00 (8.00-10.00) |" in text
    assert "| 0.450 | 0.495 | 0.500 | 2.76 s | 250 ms | 2.00 s | 500 ms | 10 ms | 200.0 MB | 1.9 |" in text
    assert (
        "| 1 x 128 | 2.00 | 1.00 G | 500 G | 31% of int8 | products 60%, attention 35%, between operators 5% |" in text
    )
    assert "| 900 | 1200 | 700 | 2.0 | 12.0 | 600 |" in text and "| 90 | 120 | none from 20 up |" in text


def test_the_parity_table_has_each_variant_in_a_row_and_in_words():
    steps = parity_table.parity_table(EXPORT)
    assert [line[:2] for line in steps.cells] == [
        ("exported graph", "-"), ("fused graph", "-"), ("int8-dynamic", "recommended"), ("fp16", "failed"),
        ("fp16, CUDA", "-"),
    ]  # fmt: skip
    assert steps.cells[2] == (
        "int8-dynamic", "recommended", "100", "0.840", "-0.010 (-0.030 to +0.010)", "2 of 100", "0.03", "0.5", "0.1",
        "0.02", "98%",
    )  # fmt: skip
    assert {len(line) for line in steps.cells} == {len(parity_table.HEADER)} and steps.header == parity_table.HEADER
    failed = replace(
        EXPORT.variants["int8-dynamic"],
        failures=["too slow"],
        other_providers={CUDA: replace(PARITY, requested_provider=CUDA)},
    )
    ((title, sentences),) = parity_table.explain_variants(replace(EXPORT, variants={"int8-dynamic": failed}))
    text = "\n".join(sentences)
    assert title == "int8-dynamic: failed: too slow" and "NOT GOOD ENOUGH: too slow" in text
    for part in ("(95 % interval -0.0300 to +0.0100, McNemar p 0.6), not significant", "3 of 64 labels change",
                 "'a <i> text': expected 0.600 0.400, got 0.500 0.500", "(CUDA WAS REQUESTED)",
                 "logits would change by up to 0.1, and 1 of 100 labels would change"):  # fmt: skip
        assert part in text, part


def test_the_report_has_the_score_after_each_stage_under_the_names_of_the_splits(tmp_path):
    results = replace(
        with_run(split_names={"dev": "validation_matched", "test": "validation_mismatched"}),
        stages=replace(RESULTS.stages, general=None),
    )
    write_reports(results, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| accuracy | dev (validation_matched) | test (validation_mismatched) |" in text
    assert "| student before distillation, with the teacher's head | 0.600 | 0.610 |" in text
    assert "| student after the prediction stage | 0.850 | 0.840 |" in text
    assert "dev (validation_matched)" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "| student after general distillation, with the teacher's head |" in markdown_of(page_of(RESULTS))
    unfit = replace(RESULTS.stages.intermediate, scores_before=None, scores=None)
    results = replace(with_run(selected_on_test=True), stages=replace(RESULTS.stages, intermediate=unfit))
    text = markdown_of(page_of(results))
    assert "| teacher | 0.900 |" in text and "0.890" not in text and "with the teacher's head" not in text


def test_the_report_has_commands_to_use_and_to_reproduce_the_bundle_and_caveats(tmp_path):
    write_reports(with_run(smoke=True), tmp_path)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        for part in (
            "bundles/int8-dynamic/predict.py",
            "pocketbert run x.yaml",
            "This was a smoke run",
            "no CUDA device",
        ):
            assert part in text
    assert '--pair "another text"' in markdown_of(page_of(with_run(takes_pairs=True)))


def caveats(results: Results) -> str:
    return "\n".join(caveats_of(results))


def test_caveats_come_with_their_reason_and_only_then():
    text = caveats(RESULTS)
    assert "scores are on 100 rows, so each is uncertain by about 10 percentage points" in text
    assert "probabilities moved by up to 0.1" in text and "student fp32, onnxruntime, CUDA was not measured" in text
    assert "teacher, onnxruntime was not measured: its activation cannot be fused." in text
    assert "no int8 dot product" in text and "int8-dynamic will be faster" in text
    assert "fp16 is made for GPUs" in text and "fp16 will be faster" not in text
    assert "smoke" not in text and "Other programs" not in text and "most common label" not in text
    assert "uncertain by more than" not in text
    assert "too few rows for a test split" in caveats(with_run(selected_on_test=True))
    assert "would score 0.840; the best model here scores 0.870" in caveats(with_run(most_common_label=0.84))
    assert caveats_of(without_caveats()) == []


def test_caveats_look_at_the_baseline_and_the_intervals():
    assert "INVALID" not in caveats(RESULTS)
    control = replace(BENCH.aa_control, ratio=Ratio(value=1.2, low=1.1, high=1.3), is_valid=False)
    text = caveats(with_bench(aa_control=control))
    assert "INVALID: the A/A control failed. student, torch fp32 was compared with itself" in text
    assert "the speedup is 1.20 (1.10-1.30) instead of 1.00" in text
    gpu = Gpu(
        name="a GPU", driver_version="1", memory_total="1 GiB", sm_clock="1 MHz", pstate="P0", temperature="30",
        power_draw="9 W",
    )  # fmt: skip
    changes = {
        BUNDLE: {"speedup": Ratio(value=20.0, low=5.0, high=22.0)},
        BASELINE: {"label": "TF-IDF", "score": 0.86},
    }
    rows = [replace(row, **changes.get(row.id, {})) for row in ROWS if row.id != FAILED]
    machine = replace(BENCH.machine, instructions=["avx512_vnni"], gpu=gpu)
    text = caveats(with_bench(rows=rows, machine=machine))
    bundle = "student int8-dynamic, onnxruntime scores 0.850 in accuracy"
    assert f"{bundle}, 0.010 below TF-IDF with 0.860. A linear model may be enough" in text
    assert "uncertain by more than 25%: student int8-dynamic, onnxruntime: 20.00 (5.00-22.00). Use" in text
    assert "CUDA" not in text and "dot product" not in text
    text = caveats(with_row(BASELINE, label="TF-IDF", score=0.9))
    assert "The teacher scores 0.870 in accuracy, 0.030 below TF-IDF with 0.900, so its student" in text


def test_caveats_say_by_how_much_the_baseline_is_better_and_whether_that_is_significant():
    def of_bundle(value: float, low: float, high: float) -> str:
        difference = MetricDifference(value=value, low=low, high=high, p_value=None)
        return caveats(with_row(BUNDLE, score=0.7 + value, minus_baseline=difference))

    text = of_bundle(-0.41, -0.43, -0.39)
    assert "scores 0.290 in accuracy, 0.410 below TF-IDF + logistic regression with 0.700" in text
    assert "(95 % interval of the difference -0.430 to -0.390, significant). A linear model may be enough" in text
    text = of_bundle(0.02, -0.01, 0.05)
    assert "0.020 above TF-IDF" in text and "-0.010 to +0.050, not significant" in text
    assert "the same as TF-IDF + logistic regression with 0.700" in of_bundle(0.0, -0.03, 0.03)
    assert "linear model" not in of_bundle(0.02, 0.01, 0.03), "significantly better"
    unlike = with_row(STUDENT, minus_baseline=MetricDifference(value=-0.4, low=-0.5, high=-0.3, p_value=None))
    assert "linear model" not in caveats(unlike), "the caveat is about the bundle that is recommended"


def test_caveats_on_rows_and_on_one_label_hold_for_every_metric():
    macro = replace(RESULTS, metric="macro_f1", run=replace(RESULTS.run, constant_score=0.86))
    text = caveats(macro)
    assert "0.850 of student int8-dynamic, onnxruntime has a 95 % interval from 0.830 to 0.870" in text
    assert "Always predicting one label would score 0.860; the best model here scores 0.870" in text
    assert "use the metric" not in text and "percentage points" not in text
    assert "Always predicting" not in caveats(replace(macro, run=replace(RESULTS.run, constant_score=0.3)))
    skewed = with_bench(rows=[replace(row, score=row.score and 0.985) for row in ROWS])
    skewed = replace(skewed, run=replace(RESULTS.run, most_common_label=0.95))
    assert "Always predicting" not in caveats(skewed), "0.985 is far above 0.95"
    few = replace(RESULTS, run=replace(RESULTS.run, num_rows=SplitSizes(train=9, dev=0, test=0)))
    assert "scores are on 0 rows" in caveats(few)


def test_the_headline_claims_no_share_of_a_score_that_is_not_positive():
    for score in (-0.2, 0.0):
        assert not any("kept" in tile.what for tile in page_of(with_row(TEACHER, score=score)).tiles)
    tiles = page_of(with_row(BUNDLE, retention=Ratio(value=0.977, low=0.95, high=1.004))).tiles
    assert tiles[0].what == "of the teacher's accuracy kept (95 % interval 95.0% to 100.4%)"


def test_examples_name_the_largest_outputs_and_no_more():
    outputs = [0.001] * 77
    outputs[50], outputs[3] = 0.6, 0.3
    long = replace(PARITY, example=Example(text="a\x1b[31m" * 99, pair=None, expected=outputs, actual=[1 / 77] * 77))
    variant = replace(EXPORT.variants["int8-dynamic"], parity=long)
    exported = replace(EXPORT, variants={"int8-dynamic": variant}, labels=[f"class-{each}" for each in range(77)])
    for result, name in ((exported, "class-50"), (replace(exported, labels=[]), "class 50")):
        ((_, sentences),) = parity_table.explain_variants(result)
        (line,) = [each for each in sentences if each.startswith("the first such row")]
        assert f"expected {name} 0.600, {name[:-2]}3 0.300, {name[:-2]}0 0.001, got" in line
        assert line.count("0.0") < 8 and len(line) < 500 and "\x1b" not in line
    value = replace(PARITY, example=Example(text="t", pair=None, expected=[0.5], actual=[0.6]))
    exported = replace(EXPORT, variants={"fp32": replace(variant, parity=value)}, labels=["score"])
    ((_, sentences),) = parity_table.explain_variants(exported)
    assert "the first such row: 't': expected 0.500, got 0.600" in sentences


def test_each_row_of_the_parity_table_has_its_number_of_rows():
    steps = replace(EXPORT.steps, exported=replace(PARITY, num_rows=1000))
    table_of_steps = parity_table.parity_table(replace(EXPORT, steps=steps))
    assert [line[table_of_steps.header.index("rows")] for line in table_of_steps.cells[:3]] == ["1,000", "100", "100"]


def test_a_long_list_of_labels_is_cut_and_counted():
    names = [f"{index} {'very ' * 30}long" for index in range(150)]
    text = phrases_for("classification").outputs(names)
    assert text.startswith("150 labels (0 very") and text.endswith("... and 142 more)") and len(text) < 600
    assert phrases_for("classification").outputs(["a", "b\x1b[0m"]) == "2 labels (a, b\\x1b[0m)"


def test_the_ceiling_is_that_of_the_weights_whatever_the_model_is_called():
    def ceiling_of(**system: str) -> str:
        bench = with_row(BUNDLE, **system).stages.bench
        (limits,) = [each for each in sections(bench, None) if each.title.startswith("Roofline")]
        (line,) = limits.tables[0].cells
        assert line[0] == f"{system['label']}, onnxruntime"
        return line[5]

    assert ceiling_of(label="deployed", precision="int8", variant="int8-static") == "31% of int8"
    assert ceiling_of(label="int8-trials", precision="fp32", variant="fp32") == "125% of fp32"
    assert ceiling_of(label="small", precision="int4", variant="int4-weight") == "31% of int8"


# -- every part of the report


TITLES = {
    "Where the speed comes from": with_row(BUNDLE, breakdown_by_input={TEXTS: []}),
    "Speedup over each other system": with_row(BUNDLE, comparisons_by_input={}),
    "Latency by input length": with_bench(rows=[replace(row, latency_by_shape={}) for row in ROWS]),
    "Parts of a call, and cold start": with_bench(rows=[replace(row, latency=None) for row in ROWS]),
    "Size by part": with_bench(rows=[replace(row, size_by_part=None) for row in ROWS]),
    "Roofline: how close to this machine's limits": with_bench(ceilings=None),
    "Thread scaling": with_bench(thread_counts=None),
    "Under load": with_bench(load=None),
}


def test_every_section_is_there_with_its_measurement_and_not_without():
    titles = [section.title for section in sections(BENCH, "int8-dynamic")]
    assert titles == list(TITLES)
    for title, results in TITLES.items():
        assert [each.title for each in sections(results.stages.bench, "int8-dynamic")] == [
            other for other in titles if other != title
        ]
    assert [each.title for each in sections(BENCH, None)] == titles, "so has a benchmark alone"
    of_another = [each.title for each in sections(BENCH, "fp32")]
    assert of_another == titles[2:], "of a run, the speed-up of the recommended variant alone"


MARKERS: dict[str, tuple[Any, str, str | None]] = {  # of a part of the page: without it, and what shows it
    "num_rows": (None, "800 train, 100 dev, 100 test rows", None),
    "tiles": ([], '<div class="tiles">', "**97.7%**"),
    "gate": ([], "Not shipped", "## Not shipped"),
    "caveats": ([], "Caveats", "## Caveats"),
    "remarks": ([], "About the data", "## About the data"),
    "pareto": (None, "the Pareto front.", None),
    "sections": ([], "Under load", "## Under load"),
    "parity": (None, "On the 100 dev rows", "## Exported variants"),
    "curves": (None, "<h2>Training</h2>", None),
    "training": (table.Table(header=("stage",), cells=[]), "from step 20 on", "## Training"),
    "after_stages": (table.Table(header=("",), cells=[]), "after the prediction stage", "after the prediction stage"),
    "augmentation": ([], "label drift", "label drift"),
    "use": ([], "predict.py &lt; lines.txt", "predict.py < lines.txt"),
    "reproduce": (None, "<h2>Reproduce</h2>", "## Reproduce"),
    "choices": (table.Table(header=("key",), cells=[]), "Chosen automatically", "| teacher.fine_tune.learning_rate |"),
    "advice": ([], "What to try next", "1. The student keeps"),
}


@pytest.fixture(scope="module")
def page() -> ReportPage:
    return page_of(RESULTS)


def test_the_page_has_the_colours_of_the_plots_for_light_and_dark(page):
    html = html_of(page)
    light, dark = html.split("@media (prefers-color-scheme: dark)")
    for name, (on_light, on_dark) in PALETTE.items():
        assert f"--plot-{name}: {on_light};" in light and f"--plot-{name}: {on_dark};" in dark
    assert all(f"var(--plot-{name}, {PALETTE[name][0]})" in html for name in ("blue", "orange", "muted", "line"))


def test_the_page_shows_the_drawing_that_suits_its_width(page):
    html = html_of(page)
    assert html.count('<div class="wide"><svg') == html.count('<div class="narrow"><svg') == html.count("<figure>") == 8
    assert f"(max-width: {render.BREAK_POINT}px) {{\n  .wide {{ display: none; }} .narrow {{ display: block; }}" in html


def test_the_page_holds_every_part(page):
    always = {"name", "metric", "method", "rows", "machine"}
    assert {field.name for field in fields(ReportPage)} == always | set(MARKERS)


@pytest.mark.parametrize("part", MARKERS)
def test_every_part_is_rendered_where_there_is_one_and_left_out_where_there_is_none(page, part):
    nothing, in_html, in_markdown = MARKERS[part]
    without = replace(page, **{part: nothing})
    assert in_html in html_of(page) and in_html not in html_of(without)
    if in_markdown is not None:
        assert in_markdown in markdown_of(page) and in_markdown not in markdown_of(without)


def test_parts_within_parts_are_left_out_alone(page):
    no_recipe = replace(page, reproduce=replace(page.reproduce, recipe=None))
    assert "with every default" in html_of(page) and "```yaml" in markdown_of(page)
    assert "with every default" not in html_of(no_recipe) and "```yaml" not in markdown_of(no_recipe)
    assert html_of(page).count("<details open>") == 1, "only the variant that failed"
    no_plots = replace(page, sections=[replace(each, plots=[]) for each in page.sections])
    assert html_of(page).count("<figure>") == 2 + sum(len(each.plots) for each in page.sections)
    assert html_of(no_plots).count("<figure>") == 2


def test_a_benchmark_alone_has_a_report_of_what_it_has():
    results = without_caveats()
    bare = page_of(results)
    assert html_of(bare) and markdown_of(bare)
    nothing = [field.name for field in fields(bare) if not getattr(bare, field.name)]
    missing = {*MARKERS} - {"sections", "training", "after_stages", "choices"}
    assert set(nothing) == missing and bare.training.cells == bare.after_stages.cells == bare.choices.cells == []
    assert [each.title for each in bare.sections] == ["Parts of a call, and cold start"]


def test_words_of_what_was_left_out_or_looks_otherwise():
    of_gpu = Gpu(
        name="a GPU", driver_version="1", memory_total="1 GiB", sm_clock="1 MHz", pstate="P0", temperature="30",
        power_draw="9 W",
    )  # fmt: skip
    on_cuda = [replace(row, device="cuda") if row.id == TEACHER else row for row in ROWS]
    cold = replace(ROWS[BUNDLE].cold_start, python_s=None)
    rows = [replace(row, cold_start=cold) if row.id == BUNDLE else row for row in on_cuda]
    text = markdown_of(
        page_of(
            with_bench(
                machine=replace(BENCH.machine, gpu=of_gpu),
                rows=rows,
                texts_sha256=None,
                protocol=replace(BENCH.protocol, restart_every=12),
            )
        )
    )
    assert "- GPU: a GPU, 1, 1 GiB, 1 MHz, P0, 30, 9 W" in text
    assert "texts not computed, code efefefefefef" in text
    assert "each model keeps one process throughout" in text and "On CUDA, these times exclude copies" in text
    assert "| 0.450 | 0.495 | 0.500 | 2.51 s | - | 2.00 s | 500 ms | 10 ms |" in text
    spread = replace(RESULTS.stages.augment, drift=LabelDrift(num_variants=9, mean_change=0.5, spread=2.0))
    regression = replace(with_stages(augment=spread), task_type="regression")
    assert (
        "changes by 0.50 on average over 9 augmented texts (standard deviation over the original texts: 2.00)"
        in markdown_of(page_of(regression))
    )
    many = replace(RESULTS.stages.teacher.training, dev_scores=[0.1 * epoch for epoch in range(9)])
    long = with_stages(teacher=replace(RESULTS.stages.teacher, training=many))
    assert "| 0.000 ... 0.800 (epoch 9) ... 0.800 (9 epochs) |" in markdown_of(page_of(long))


# -- the template names nothing that the page lacks: type checking does not see it


def known(kind: Any) -> Any:
    """A type without None."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    return kind


def kind_of(node: nodes.Node, names: dict[str, Any]) -> Any:
    """The type of an expression of the template."""
    match node:
        case nodes.Name():
            return names[node.name]
        case nodes.Getattr():
            return get_type_hints(known(kind_of(node.node, names)))[node.attr]
    return kind_of(node.node, names)  # a filter


PARAMETERS = {"table_of": table.Table, "plot_of": Plot}  # of the template's macros


def num_checked(node: nodes.Node, names: dict[str, Any]) -> int:
    """The number of attributes under a node. Raises KeyError for an attribute that its dataclass lacks."""
    if isinstance(node, nodes.Getattr):
        kind_of(node, names)
        return 1
    if isinstance(node, nodes.Macro):
        names = {**names, node.args[0].name: PARAMETERS[node.name]}
    if isinstance(node, nodes.Call):
        assert known(kind_of(node.args[0], names)) is PARAMETERS[node.node.name]
    if isinstance(node, nodes.For):
        element = get_args(known(kind_of(node.iter, names)))[0]
        targets = [node.target] if isinstance(node.target, nodes.Name) else node.target.items
        kinds = [element] if isinstance(node.target, nodes.Name) else get_args(element)
        names = {**names, **dict(zip([target.name for target in targets], kinds, strict=True))}
    return sum(num_checked(child, names) for child in node.iter_child_nodes())


def test_every_name_in_the_template_is_a_field_of_the_page():
    environment = render.template_environment()
    source, _, _ = environment.loader.get_source(environment, render.TEMPLATE)
    assert num_checked(environment.parse(source), {"page": ReportPage}) > 50
    for wrong in ("{{ page.nothing }}", "{% for tile in page.tiles %}{{ tile.figures }}{% endfor %}", "{{ row.name }}"):
        with pytest.raises(KeyError):
            num_checked(environment.parse(wrong), {"page": ReportPage})
    with pytest.raises(AssertionError):
        num_checked(environment.parse("{{ plot_of(page.rows) }}"), {"page": ReportPage})


# -- results.json


def test_results_are_read_as_they_were_written(tmp_path):
    write_results(RESULTS, tmp_path)
    assert read_results(tmp_path) == RESULTS
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, results_schema())
    for broken in (
        {**content, "format_version": 4},
        {**content, "stages": {}},
        {**content, "metric": "bleu"},
        {**content, "run": {**content["run"], "num_rows": 100}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, results_schema())


def test_results_that_cannot_be_read_are_refused_in_one_line_that_says_what_to_do(tmp_path):
    write_results(RESULTS, tmp_path)
    path = tmp_path / "results.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    bench = content["stages"]["bench"]
    first, *others = bench["rows"]

    def with_rows(*rows: dict[str, object]) -> dict[str, object]:
        return {**content, "stages": {**content["stages"], "bench": {**bench, "rows": [*rows, *others]}}}

    for changed, expected in (
        ({**content, "format_version": 4}, f"got format version 4, expected {FORMAT_VERSION}; run the recipe or"),
        ({"format_version": 3, "stages": {}}, "got format version 3"),
        ({**content, "stages": {}}, "(stages.bench: Field required); run the recipe again"),
        (with_rows({**first, "size_bytes": "large"}), "(stages.bench.rows.0.size_bytes: Input should be a valid int"),
        (with_rows({key: first[key] for key in first if key != "role"}), "stages.bench.rows.0.role: Field required"),
        (with_rows(first, first), "stages.bench: Value error, expected unique row ids and references to them"),
        (
            {**content, "stages": {**content["stages"], "bench": {**bench, "rows": [], "aa_control": None}}},
            "expected at least one row",
        ),
        ([], "no readable results"),
        ({"name": "a web app"}, "no readable results (KeyError: 'format_version')"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(UserError) as refused:
            read_results(tmp_path)
        assert expected in str(refused.value) and "\n" not in str(refused.value)
    path.unlink()
    with pytest.raises(UserError, match="no such file; a run writes it after its last stage"):
        read_results(tmp_path)
    control = replace(BENCH.aa_control, id=99)
    with pytest.raises(ValueError, match="row ids and references to them"):
        replace(BENCH, aa_control=control)
