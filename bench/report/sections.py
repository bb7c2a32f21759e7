"""The report's sections on speed and size: each has a title, a note, plots and tables."""

from typing import assert_never

from bench.plots import report_plots, speed_plots
from bench.plots.style import Plot
from bench.report import serving, table
from bench.report.section import ReportSection, input_name, recommended_row
from bench.report.table import Table
from bench.results.benchmark import TEXTS, BenchmarkRow, BenchResult, Precision, SpeedupStep
from bench.results.measurements import Ceilings, ColdStart, Profile
from bench.timing.engines import BOUNDARIES

MODEL_ONLY, WITH_TOKENIZER, _ = BOUNDARIES
COLD_PARTS = ("Python", "imports", "loading", "first prediction")


def sections(bench: BenchResult, recommended: str | None) -> list[ReportSection]:
    """The sections for which there are results.

    `recommended`: the recommended variant of a run; None for a benchmark without a run.
    """
    row = recommended_row(bench, recommended)
    row_id = None if row is None else row.id
    candidates = (
        _breakdown(bench, recommended),
        _comparisons(bench, recommended),
        _by_length(bench, row_id),
        _boundaries(bench, row_id),
        _sizes(bench, row_id),
        _roofline(bench, row_id),
        serving.threads(bench, row_id),
        serving.load(bench, row_id),
    )
    return [section for section in candidates if section is not None]


def _is_reported(row: BenchmarkRow, recommended: str | None) -> bool:
    """Whether a row gets a breakdown: in a run only the student's recommended variant, otherwise every row."""
    return recommended is None or (row.role == "student" and row.variant == recommended)


def _breakdown(bench: BenchResult, recommended: str | None) -> ReportSection | None:
    """The factors of the recommended variant's speedup; without a run, those of every row that has them."""
    rows = [row for row in bench.rows if row.breakdown_by_input.get(TEXTS) and _is_reported(row, recommended)]
    if not rows:
        return None
    return ReportSection(
        title="Where the speed comes from",
        note="Each step from the teacher in torch to this variant multiplies the speed by a factor. The plot and the "
        "first row are from text to label on the task's own texts. The other rows are the model only, on batches of "
        "texts x tokens. Intervals are 95 %.",
        plots=[_waterfall(row) for row in rows],
        tables=[_breakdown_table(row, row.label if recommended is None else recommended) for row in rows],
    )


def _waterfall(row: BenchmarkRow) -> Plot:
    factors = [step for step in row.breakdown_by_input[TEXTS] if step.step != "total"]
    return report_plots.speedup_waterfall(row.name, [(_step_name(step, row), step.ratio) for step in factors])


def _breakdown_table(row: BenchmarkRow, title: str) -> Table:
    by_input = {key: steps for key, steps in row.breakdown_by_input.items() if steps}
    return Table(
        header=(title, *(_step_name(step, row) for step in by_input[TEXTS])),
        cells=[(input_name(key), *(table.ratio(step.ratio) for step in steps)) for key, steps in by_input.items()],
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
            return "total"
    assert_never(step.step)


def _comparisons(bench: BenchResult, recommended: str | None) -> ReportSection | None:
    """How the recommended variant compares with every other system; without a run, how every row does."""
    tables = []
    for row in bench.rows:
        by_input = {
            key: {each.other: each.ratio for each in comparisons}
            for key, comparisons in row.comparisons_by_input.items()
            if comparisons
        }
        others = dict.fromkeys(other for ratios in by_input.values() for other in ratios)
        if others and _is_reported(row, recommended):
            cells = [
                (bench.row(other).name, *(table.ratio(ratios.get(other)) for ratios in by_input.values()))
                for other in others
            ]
            tables.append(Table(header=(f"{row.name} compared with", *map(input_name, by_input)), cells=cells))
    if not tables:
        return None
    return ReportSection(
        title="Speedup over each other system",
        note="How many times as fast as each other system, with 95 % intervals. Above 1: faster than that system.",
        tables=tables,
    )


def _by_length(bench: BenchResult, recommended: int | None) -> ReportSection | None:
    """Latency of the model only, by the shape of its input. `recommended`, here and below: the id of the row."""
    by_shape = table.by_shape(bench)
    if not by_shape.cells:
        return None
    plot = speed_plots.latency_by_length(bench, recommended)
    on_gpu = ""
    if any(row.device == "cuda" and row.latency_by_shape for row in bench.rows):
        on_gpu = " On CUDA, these times exclude copies to and from the device; text to label includes them."
    return ReportSection(
        title="Latency by input length",
        note="The model only, on prepared inputs: median milliseconds, and how many times as fast as the first row."
        + on_gpu,
        plots=[] if plot is None else [plot],
        tables=[by_shape],
    )


def _boundaries(bench: BenchResult, recommended: int | None) -> ReportSection | None:
    """Latency within each boundary of a call, cold start, memory and cores."""
    cells = [_detail(row) for row in bench.rows if row.latency is not None]
    if not cells:
        return None
    distribution = speed_plots.latency_distribution(bench, recommended)
    lengths = bench.text_lengths
    of_texts = ""
    if lengths is not None:
        of_texts = (
            f" The texts have {lengths.mean:.1f} tokens on average; 90 % have at most {lengths.p90:.0f}, and the "
            f"longest has {lengths.longest:.0f}. At batch 1 there is no padding. In batches of 32, "
            f"{lengths.padding:.0%} of the tokens would be padding, or {lengths.padding_sorted:.0%} if texts of "
            "similar length shared a batch."
        )
    return ReportSection(
        title="Parts of a call, and cold start",
        note="Median milliseconds of the same calls: the model only, the model with its tokenizer, and all from text "
        "to label. Cold start is the time from the start of a new process to its first prediction, with all files in "
        f"the page cache. Cores busy is the average over {bench.protocol.throughput_texts} texts in batches.{of_texts}",
        plots=[] if distribution is None else [distribution],
        tables=[
            Table(
                header=("model", *BOUNDARIES, "cold start", *COLD_PARTS, "peak memory", "cores busy"),
                cells=cells,
            )
        ],
    )


def _detail(row: BenchmarkRow) -> tuple[str, ...]:
    within = [row.latency_by_boundary.get(boundary) for boundary in (MODEL_ONLY, WITH_TOKENIZER)]
    return (
        row.name,
        *("-" if latency is None else f"{latency.median_ms:.3f}" for latency in (*within, row.latency)),
        *_cold(row.cold_start),
        "-" if row.process is None else table.megabytes(row.process.peak_rss_bytes),
        "-" if row.cores_used is None else f"{row.cores_used:.1f}",
    )


def _cold(start: ColdStart | None) -> tuple[str, ...]:
    """The total, then COLD_PARTS."""
    if start is None:
        return ("-",) * (1 + len(COLD_PARTS))
    parts = (start.total_s, start.python_s, start.import_s, start.load_s, start.first_answer_s)
    return tuple("-" if seconds is None else _seconds(seconds) for seconds in parts)


def _sizes(bench: BenchResult, recommended: int | None) -> ReportSection | None:
    plot = speed_plots.size_by_part(bench, recommended)
    if plot is None:
        return None
    return ReportSection(title="Size by part", note="Files on disk, in decimal megabytes.", plots=[plot])


def _roofline(bench: BenchResult, recommended: int | None) -> ReportSection | None:
    """The speed of each profiled bundle as a share of what the machine can reach."""
    ceilings = bench.ceilings
    if ceilings is None:
        return None
    products = ", ".join(f"{name} {each.gops:.0f} ({each.by})" for name, each in ceilings.products.items())
    profiled = [(row, profile) for row in bench.rows for profile in row.profiles]
    by_shape: dict[str, list[tuple[int, Profile]]] = {}
    for row, profile in profiled:
        by_shape.setdefault(profile.shape, []).append((row.id, profile))
    return ReportSection(
        title="Roofline: how close to this machine's limits",
        note=f"This machine, with {ceilings.num_threads} threads, multiplies large matrices at these rates, in 10^9 "
        f"operations per second: {products}. Its memory reads and writes {ceilings.gigabytes_per_s:.0f} GB/s. "
        "Operations of a model are those of its matrix products and its attention, as executed. Its ceiling is the "
        "rate for the precision of its matrix products (attention itself runs in fp32). The times of its parts are "
        "from onnxruntime's profiler.",
        plots=[speed_plots.time_by_operator(bench, recommended, profiles) for profiles in by_shape.values()],
        tables=[
            Table(
                header=("model", "shape", "ms", "operations", "per second", "of its ceiling", "largest parts"),
                cells=[_roofline_cells(row, profile, ceilings) for row, profile in profiled],
            )
        ],
    )


def _roofline_cells(row: BenchmarkRow, profile: Profile, ceilings: Ceilings) -> tuple[str, ...]:
    reached = profile.operations / profile.ms / 1e6
    precision = _computed_in(row.precision)
    ceiling = ceilings.products.get(precision)
    largest = ", ".join(f"{part.name} {part.ms / profile.ms:.0%}" for part in profile.parts[:3])
    return (
        row.name,
        input_name(profile.shape),
        f"{profile.ms:.2f}",
        f"{profile.operations / 1e9:.2f} G",
        f"{reached:.0f} G",
        "-" if ceiling is None else f"{reached / ceiling.gops:.0%} of {precision}",
        largest,
    )


def _computed_in(weights: Precision) -> Precision:
    """The precision in which the CPU multiplies weights of this precision: int4 as int8, and fp16 as fp32."""
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
