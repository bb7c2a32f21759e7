"""What the commands print on a terminal or into a pipe."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.augmentation.ladder import AugmentationLadder
from bench.plots.loss_curves import CurveComparison
from bench.report import parity_table
from bench.report import table as bench_table
from bench.report.comparison import ResultsComparison
from bench.report.page import machine_lines
from bench.results.document import Results, ShapeComparison
from bench.results.phrases import words_for
from bench.self_check import SelfCheck
from bench.training.ladder import LadderRow, TrainingLadder
from export.results import ExportResult
from pocketbert.pipeline.flow import RunResult
from pocketbert.pipeline.forecast import RunForecast
from pocketbert.standalone.doctor import DoctorReport

if TYPE_CHECKING:  # it loads torch
    from pocketbert.standalone.augmentation_preview import AugmentationPreview, AugmentedExample

PIPE_WIDTH = 1000  # no name is cut where no screen limits the width


def outcome(run: RunResult) -> None:
    """A run's table, and where to find what."""
    if run.results is not None:
        table(run.results)
    for bundle in sorted((run.folder / "bundles").glob("*")):
        path("bundle", bundle)
    if run.results is not None:
        path("report", run.folder / "report.html")
        path("figures", run.folder / "results.json")


def table(results: Results) -> None:
    """The benchmark's rows."""
    bench = results.stages.bench
    _cells(bench_table.benchmark_table(results))
    failed = [(row.name, row.error) for row in bench.rows if row.error]
    for name, reason in (*failed, *((absent.name, absent.reason) for absent in bench.absent)):
        if len(reason) > bench_table.SHORT_REASON:
            _line(f"{name} was not measured: {reason}")


def variants(exported: ExportResult) -> None:
    """What was exported, and how nearly each variant answers like torch."""
    lines = [
        (
            name,
            "-" if variant.bundle is None or variant.size_bytes is None else bench_table.megabytes(variant.size_bytes),
            f"{variant.parity.score:.3f}",
            f"{variant.parity.torch_score:.3f}",
            words_for(exported.task_type).flips(variant.parity),
            variant.bundle or f"not written: {'; '.join(variant.failures)}",
        )
        for name, variant in exported.variants.items()
    ]
    _table(("variant", "size", "score", "torch", "label flips", "bundle"), lines)


def explain_variants(exported: ExportResult) -> None:
    """The parity ledger: its table, what each column means, and every result of each variant."""
    _cells(parity_table.parity_table(exported))
    for what, meaning in parity_table.MEANINGS:
        _line(f"{what}: {meaning}")
    for title, sentences in parity_table.explain_variants(exported):
        _line(f"\n{title}")
        for sentence in sentences:
            _line(f"  {sentence}")


def compared(comparison: ResultsComparison) -> None:
    """Two runs, model by model."""
    first, second = comparison.names
    _line(f"{first}, then {second}; times as fast: each against its own run's first row")
    _table(comparison.header, comparison.cells)
    for remark in comparison.remarks:
        _line(remark)


def published_shapes(shapes: Sequence[ShapeComparison]) -> None:
    """Table 1's sizes and speeds, and those measured here."""
    _line("TinyBERT's Table 1, and here: operations at 128 tokens; times as fast as BERT-base (on a K80; 1 x 128 here)")
    _table(
        ("shape", "parameters", "here", "operations", "here", "times as fast", "here"),
        [
            (
                shape.name,
                f"{shape.paper.parameters:g} M",
                f"{shape.parameters:.1f} M",
                f"{shape.paper.operations:g} G",
                f"{shape.operations:.1f} G",
                "-" if shape.paper.times is None else f"{shape.paper.times:g}",
                bench_table.ratio(shape.times),
            )
            for shape in shapes
        ],
    )


def validity(result: SelfCheck) -> None:
    """A model against itself and a slower copy: how far this machine's ratios can be trusted."""
    for title, ratios in (("against itself", result.aa_ratios), ("against the slower copy", result.slowed_ratios)):
        _line(f"{title}: {', '.join(map(bench_table.ratio, ratios))}")
    runs = len(result.aa_ratios)
    _line(
        f"{result.name}: the 95 % intervals of {runs - result.num_aa_missed} of {runs} runs hold 1.00, their "
        f"half-width is {result.median_half_width:.1%} in the median; a copy {result.slowdown:.0%} slower was detected "
        f"in {result.num_detected} of {len(result.slowed_ratios)}"
    )


def training(ladder: TrainingLadder) -> None:
    """The ladder of each stage."""
    header = ("", "examples/s", "times plain", "times plain at its best", "input", "peak memory")
    for name, stage in ladder.stages.items():
        _line(
            f"{name}: {ladder.num_rows} rows of {stage.mean_tokens:.0f} tokens on average, batches of "
            f"{stage.batch_size}, {ladder.rounds} rounds"
        )
        _table(header, [_ladder_cells(row) for row in stage.rows])


def _ladder_cells(row: LadderRow) -> tuple[str, ...]:
    if row.error or row.examples_per_s is None or row.peak_rss_bytes is None:
        return (row.name, row.error or "not measured", "-", "-", "-", "-")
    return (
        row.name,
        f"{row.examples_per_s:.0f}",
        bench_table.ratio(row.speedup_over_plain),
        bench_table.ratio(row.speedup_over_best_plain),
        "-" if row.input_share is None else f"{row.input_share:.1%}",
        bench_table.megabytes(row.peak_rss_bytes),
    )


def augmentation(ladder: AugmentationLadder) -> None:
    """How fast each method of augmenting is, and the memory ours takes."""
    header = ("", "ms a word", "ms a variant", "a: per word", "per variant", "b: per word", "per variant", "other sets")
    lines = [
        (
            row.name,
            f"{row.ms_per_word:.2f}",
            f"{row.ms_per_variant:.2f}",
            *(
                bench_table.ratio(ratio)
                for speedup in (row.over_plain, row.over_first_written)
                for ratio in (speedup.per_word, speedup.per_variant)
            ),
            f"{row.comparison.num_different} of {row.comparison.num_words}" if row.comparison else "-",
        )
        for row in ladder.rows
    ]
    _line(
        f"{ladder.num_texts} texts in {ladder.rounds} parts, {ladder.num_threads} threads each; times as fast as "
        "one word at a time (a), and as the first scripts (b)"
    )
    _table(header, lines)
    for memory in ladder.memory:
        _line(
            f"{memory.num_texts:,} texts, {memory.num_rows:,} rows written: peak memory "
            f"{bench_table.megabytes(memory.peak_rss_bytes)}, {bench_table.megabytes(memory.before_bytes)} of it "
            "loaded before"
        )


def curves(comparison: CurveComparison) -> None:
    """Two runs' losses, and how many steps of the second each step of the first is worth."""
    first, second = (run.name for run in comparison.runs)
    lines = [
        (
            str(line.step),
            f"{line.first:.3f}",
            "-" if line.second is None else f"{line.second:.3f}",
            str(line.steps_of_second or "not in its run"),
        )
        for line in comparison.lines
    ]
    _table((f"step of {comparison.stage}", f"loss of {first}", f"loss of {second}", f"{second} needs, steps"), lines)


def augmented(preview: "AugmentationPreview") -> None:
    """Examples of variants, the replaced words marked, and what became of all words."""
    for example in preview.examples:
        _line(f"row {example.row}{_which(example)}  {example.original}")
        marked = Text("  ")
        end_of_last = 0
        for word in example.replaced:
            marked.append(example.text[end_of_last : word.start])
            marked.append(f"[{example.text[word.start : word.end]}]", style="bold")
            end_of_last = word.end
        marked.append(example.text[end_of_last:])
        Console(highlight=False, soft_wrap=True).print(marked)
        _line(f"  instead of {', '.join(f'{word.was} ({word.source})' for word in example.replaced)}")
    for what, value in preview.summary:
        _line(f"{what + ':':<28}{value}")
    path("rows", Path(preview.folder))


def _which(example: "AugmentedExample") -> str:
    if not example.is_pair:
        return ""
    return ", first text" if example.column == "text" else ", second text"


def plan(forecast: RunForecast) -> None:
    """The resolved plan of a recipe."""
    rows, tokens = forecast.num_rows, forecast.tokens
    outputs = words_for(forecast.task_type).outputs(forecast.labels)
    _line(f"{forecast.name}: {rows.train} train, {rows.dev} dev, {rows.test} test rows; {outputs}")
    for remark in forecast.remarks:
        _line(f"  {remark}")
    _line(
        f"  texts: {tokens.median:.0f} tokens in the median, {tokens.longest} at most; "
        f"{tokens.share_cut:.1%} are cut at {tokens.max_length}"
    )
    for role, model in (("teacher", forecast.teacher), ("student", forecast.student)):
        _line(
            f"{role}: {model.layers} layers x {model.width}, {model.heads} heads, "
            f"{model.num_parameters / 1e6:.1f} M parameters ({model.name})"
        )
    lines = [
        (
            stage.name,
            stage.state,
            str(stage.num_steps or "-"),
            "not timed yet" if stage.estimated_s is None else duration(stage.estimated_s),
        )
        for stage in forecast.stages
    ]
    _table(("stage", "state", "steps", "about"), lines)
    unknown = [stage.name for stage in forecast.stages if stage.estimated_s is None]
    total = duration(sum(stage.estimated_s or 0.0 for stage in forecast.stages))
    without = f" without {', '.join(unknown)}, which the first run times" if unknown else ""
    _line(f"in all about {total} on this machine{without}")
    _line(f"variants: {', '.join(forecast.variants)}; must be good enough: {', '.join(forecast.required) or 'none'}")
    path("run folder", Path(forecast.folder))


def machine(report: DoctorReport) -> None:
    """The machine and the installation, as `pocketbert doctor` sees them."""
    for what, value in machine_lines(report.machine):
        _line(f"{what + ':':<14}{value}")
    _line(f"{'int8:':<14}{'in hardware' if report.int8_in_hardware else 'no dot product in hardware'}")
    _line(f"{'torch:':<14}{report.torch_threads} threads, CUDA {'yes' if report.torch_cuda else 'no'}")
    _line(f"{'onnxruntime:':<14}{', '.join(report.providers) or 'not installed'}")
    for place, free in report.free_disk_bytes.items():
        _line(f"{'free disk:':<14}{free / 1e9:.0f} GB at {place}")
    _line(f"{'pocketbert:':<14}{report.pocketbert}")
    for problem in report.problems:
        _line(f"problem: {problem}")
    if not report.problems:
        _line("no problems found")


def path(what: str, place: Path) -> None:
    """A file or folder, on one line whatever its length."""
    _line(f"{what:<11}{place}")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _cells(table: bench_table.Table) -> None:
    _table(table.header, table.cells)


def _table(header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        made.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for cells in lines:
        made.add_row(*map(Text, cells))  # not as markup
    Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH).print(made)


def _line(text: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False).print(text)
