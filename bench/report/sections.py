"""The parts of the report about speed, size and load: each a title, what to know, plots and tables."""

from typing import assert_never

from bench.plots import report_plots, speed_plots
from bench.report import serving, table
from bench.report.section import ReportSection, place_name
from bench.report.table import Table
from bench.results.benchmark import TEXTS, BenchmarkRow, BenchResult, Precision, SpeedupStep
from bench.results.measurements import Ceilings, ColdStart, Profile
from bench.timing.engines import BOUNDARIES

ALONE, TOKENISED, ALL = BOUNDARIES
COLD_PARTS = ("Python", "imports", "loading", "first answer")


def sections(bench: BenchResult, recommended: str | None) -> list[ReportSection]:
    """Those that have something to report. `recommended`: the variant that is; None for a benchmark alone."""
    makers = (
        _breakdown(bench, recommended),
        _comparisons(bench, recommended),
        _by_length(bench),
        _in_detail(bench),
        _sizes(bench),
        _roofline(bench),
        serving.threads(bench),
        serving.load(bench),
    )
    return [section for section in makers if section is not None]


def _is_asked_for(row: BenchmarkRow, recommended: str | None) -> bool:
    """Of a run the recommended variant of the student alone; of a benchmark every row."""
    return recommended is None or (row.role == "student" and row.variant == recommended)


def _breakdown(bench: BenchResult, recommended: str | None) -> ReportSection | None:
    """Where the recommended variant's speed comes from; without a run, that of each that was taken apart."""
    rows = [row for row in bench.rows if row.breakdown_by_input.get(TEXTS) and _is_asked_for(row, recommended)]
    if not rows:
        return None
    return ReportSection(
        title="Where the speed comes from",
        words="From the teacher in torch to the variant: the parts multiply to the whole. First text to label on the "
        "task's own lengths, then the model alone on texts x tokens. Intervals: 95 %.",
        plots=[_waterfall(row) for row in rows],
        tables=[_breakdown_table(row, row.label if recommended is None else recommended) for row in rows],
    )


def _waterfall(row: BenchmarkRow) -> str:
    factors = [step for step in row.breakdown_by_input[TEXTS] if step.step != "total"]
    return report_plots.waterfall([(_step_name(step, row), step.ratio) for step in factors])


def _breakdown_table(row: BenchmarkRow, title: str) -> Table:
    by_input = {place: steps for place, steps in row.breakdown_by_input.items() if steps}
    return Table(
        header=(title, *(_step_name(step, row) for step in by_input[TEXTS])),
        cells=[(place_name(place), *(table.ratio(step.ratio) for step in steps)) for place, steps in by_input.items()],
    )


def _step_name(step: SpeedupStep, row: BenchmarkRow) -> str:
    match step.step:
        case "distillation":
            return "distillation, in torch"
        case "runtime":
            return "onnxruntime and fusion"
        case "quantisation":
            return f"{row.variant} weights"
        case "total":
            return "all together"
    assert_never(step.step)


def _comparisons(bench: BenchResult, recommended: str | None) -> ReportSection | None:
    tables = []
    for row in bench.rows:
        by_input = {
            place: {each.other: each.ratio for each in comparisons}
            for place, comparisons in row.comparisons_by_input.items()
            if comparisons
        }
        others = dict.fromkeys(other for ratios in by_input.values() for other in ratios)
        if others and _is_asked_for(row, recommended):
            cells = [
                (bench.row(other).name, *(table.ratio(ratios.get(other)) for ratios in by_input.values()))
                for other in others
            ]
            tables.append(Table(header=(f"{row.name} against", *map(place_name, by_input)), cells=cells))
    if not tables:
        return None
    return ReportSection(
        title="Against the others at their best",
        words="How many times as fast, with 95 % intervals: above 1 is faster than the other.",
        tables=tables,
    )


def _by_length(bench: BenchResult) -> ReportSection | None:
    by_shape = table.by_shape(bench)
    if not by_shape.cells:
        return None
    plot = speed_plots.latency_by_length(bench)
    on_gpu = ""
    if any(row.device == "cuda" and row.latency_by_shape for row in bench.rows):
        on_gpu = " On CUDA inputs and logits stay on the device, without copies; text to label has the copies in it."
    return ReportSection(
        title="By length",
        words="The model alone, its inputs ready: median milliseconds, and how many times as fast as the first row."
        + on_gpu,
        plots=[] if plot is None else [plot],
        tables=[by_shape],
    )


def _in_detail(bench: BenchResult) -> ReportSection | None:
    cells = [_detail(row) for row in bench.rows if row.latency is not None]
    if not cells:
        return None
    spread = speed_plots.latency_spread(bench)
    lengths = bench.text_lengths
    of_texts = ""
    if lengths is not None:
        of_texts = (
            f" The texts have {lengths.mean:.1f} tokens in the mean, nine in ten {lengths.p90:.0f} at most, all "
            f"{lengths.longest:.0f} at most. At batch 1 none is padded; of batches of 32, {lengths.padding:.0%} "
            f"would be padding, of batches of like length {lengths.padding_sorted:.0%}."
        )
    return ReportSection(
        title="What is in a call, and what it takes to start",
        words="Median milliseconds of the same calls, by what is counted: the model alone; with its tokenizer; from "
        "text to label. Cold start: from the start of a new process to its first answer, files in the system's cache. "
        f"Cores busy: with {bench.protocol.throughput_texts} texts at hand.{of_texts}",
        plots=[] if spread is None else [spread],
        tables=[
            Table(
                header=("model", *BOUNDARIES, "cold start", *COLD_PARTS, "peak memory", "cores busy"),
                cells=cells,
            )
        ],
    )


def _detail(row: BenchmarkRow) -> tuple[str, ...]:
    within = [row.latency_by_boundary.get(boundary) for boundary in (ALONE, TOKENISED)]
    return (
        row.name,
        *("-" if latency is None else f"{latency.median_ms:.3f}" for latency in (*within, row.latency)),
        *_cold(row.cold_start),
        "-" if row.process is None else table.megabytes(row.process.peak_rss_bytes),
        "-" if row.cores_used is None else f"{row.cores_used:.1f}",
    )


def _cold(start: ColdStart | None) -> tuple[str, ...]:
    """The whole, then COLD_PARTS."""
    if start is None:
        return ("-",) * (1 + len(COLD_PARTS))
    parts = (start.total_s, start.python_s, start.import_s, start.load_s, start.first_answer_s)
    return tuple("-" if seconds is None else _seconds(seconds) for seconds in parts)


def _sizes(bench: BenchResult) -> ReportSection | None:
    plot = speed_plots.sizes_by_part(bench.rows)
    if plot is None:
        return None
    return ReportSection(title="Size by part", words="What lies on disk, in decimal megabytes.", plots=[plot])


def _roofline(bench: BenchResult) -> ReportSection | None:
    ceilings = bench.ceilings
    if ceilings is None:
        return None
    products = ", ".join(f"{name} {each.gops:.0f} ({each.by})" for name, each in ceilings.products.items())
    profiled = [(row, profile) for row in bench.rows for profile in row.profiles]
    by_shape: dict[str, list[tuple[str, Profile]]] = {}
    for row, profile in profiled:
        by_shape.setdefault(profile.shape, []).append((f"{row.name}, {profile.shape}", profile))
    return ReportSection(
        title="How close to this machine's limits",
        words=f"Measured here with {ceilings.num_threads} threads: products of large matrices, in 10^9 operations "
        f"a second: {products}; memory {ceilings.gigabytes_per_s:.0f} GB/s, read and written. Operations are those "
        "that the model's products and attention do, as executed; the ceiling is that of the precision of its weights' "
        "products (attention itself is computed in fp32). The parts are as onnxruntime's profiler has them.",
        plots=[speed_plots.time_by_operator(named) for named in by_shape.values()],
        tables=[
            Table(
                header=("model", "shape", "ms", "operations", "per second", "of its ceiling", "greatest parts"),
                cells=[_roofline_cells(row, profile, ceilings) for row, profile in profiled],
            )
        ],
    )


def _roofline_cells(row: BenchmarkRow, profile: Profile, ceilings: Ceilings) -> tuple[str, ...]:
    reached = profile.operations / profile.ms / 1e6
    precision = _computed_in(row.precision)
    ceiling = ceilings.products.get(precision)
    greatest = ", ".join(f"{part.name} {part.ms / profile.ms:.0%}" for part in profile.parts[:3])
    return (
        row.name,
        place_name(profile.shape),
        f"{profile.ms:.2f}",
        f"{profile.operations / 1e9:.2f} G",
        f"{reached:.0f} G",
        "-" if ceiling is None else f"{reached / ceiling.gops:.0%} of {precision}",
        greatest,
    )


def _computed_in(weights: Precision) -> Precision:
    """The precision of a bundle's products on the CPU, by that of its weights: bytes of int4, fp32 of fp16."""
    match weights:
        case "int8" | "int4":
            return "int8"
        case "fp32" | "fp16":
            return "fp32"
        case "bf16":
            return "bf16"
    assert_never(weights)


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
