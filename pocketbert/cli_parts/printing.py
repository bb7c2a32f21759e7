"""The text output of the commands, for a terminal or a pipe."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench.report import parity_table
from bench.report import table as bench_table
from bench.results.phrases import phrases_for
from compress.common.console import new_console
from compress.common.escaping import one_line, shell_path, shell_word

if TYPE_CHECKING:  # some of them load torch
    from bench.augmentation_speed.ladder import AugmentationLadder
    from bench.plots.loss_curves import CurveComparison
    from bench.report.comparison import ResultsComparison
    from bench.results.document import Results, ShapeComparison
    from bench.self_check import SelfCheck
    from bench.training_speed.ladder import LadderRow, TrainingLadder
    from export.bundle.verification import Verification
    from export.provenance.hub import Pushed
    from export.results import ExportResult
    from pocketbert.pipeline.flow import RunResult
    from pocketbert.pipeline.forecast import RunForecast
    from pocketbert.shape_design.proposal import Design
    from pocketbert.standalone.augmentation_preview import AugmentationPreview, AugmentedExample
    from pocketbert.standalone.doctor import DoctorReport
    from pocketbert.store.cache_contents import CacheContents, CachedItem
    from pocketbert.triton.repository import Written

PIPE_WIDTH = 1000  # columns; a pipe cuts no name
PROSE_WIDTH = 100  # of sentences in a terminal


def outcome(run: "RunResult") -> None:
    """The table of a run, its summary, and the paths of its files."""
    if run.results is not None:
        from pocketbert.pipeline.run_summary import summary_lines

        benchmark(run.results)
        width = min(new_console().width, PROSE_WIDTH) if sys.stdout.isatty() else None
        for line in [*summary_lines(run.results, run.folder, width=width), ""]:
            print_line(line)
    for file in sorted((run.folder / "bundles").glob("*/bundle.json")):
        path("bundle", file.parent)
    if run.results is not None:
        path("report", run.folder / "report.html")
        path("figures", run.folder / "results.json")


def benchmark(results: "Results") -> None:
    """The rows of a benchmark, and the reasons for missing ones."""
    bench = results.stages.bench
    _cells(bench_table.benchmark_table(results))
    failed = [(row.name, row.error) for row in bench.rows if row.error]
    for name, reason in (*failed, *((absent.name, absent.reason) for absent in bench.absent)):
        if len(reason) > bench_table.SHORT_REASON:
            print_line(f"{name} was not measured: {reason}")


def variants(exported: "ExportResult") -> None:
    """The exported variants, with their parity."""
    lines = [
        (
            name,
            "-" if variant.bundle is None or variant.size_bytes is None else bench_table.megabytes(variant.size_bytes),
            f"{variant.parity.score:.3f}",
            f"{variant.parity.torch_score:.3f}",
            phrases_for(exported.task_type).flips(variant.parity),
            variant.bundle or f"not written: {'; '.join(variant.failures)}",
        )
        for name, variant in exported.variants.items()
    ]
    table(("variant", "size", "score", "torch", "label flips", "bundle"), lines)


def explanation(exported: "ExportResult") -> None:
    """The parity table, the meaning of its columns, and all results of each variant."""
    _cells(parity_table.parity_table(exported))
    for column, meaning in parity_table.MEANINGS:
        print_line(f"{column}: {meaning}")
    for title, sentences in parity_table.explain_variants(exported):
        print_line("")
        print_line(title)
        for sentence in sentences:
            print_line(f"  {sentence}")


def comparison(compared: "ResultsComparison") -> None:
    """Two runs compared, one line per model."""
    first, second = compared.names
    print_line(f"{first}, then {second}; times as fast: relative to the first row of the same run")
    table(compared.header, compared.cells)
    for remark in compared.remarks:
        print_line(remark)


def published_shapes(shapes: "Sequence[ShapeComparison]") -> None:
    """The sizes and speeds of TinyBERT's Table 1, and those measured here."""
    print_line(
        "TinyBERT's Table 1 and here: operations at 128 tokens; times as fast as BERT-base (on a K80; here at 1 x 128)"
    )
    table(
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


def design(proposal: "Design") -> None:
    """The timed shapes, the proposal and what it costs."""
    from pocketbert.shape_design.proposal import sentence, yaml_of

    table(
        ("layers x width, ffn, heads", "weights", "ms (95 %)", "MB", "loss", ""),
        [
            (
                "{layers} x {width}, {ffn_width}, {heads}".format(**vars(each.shape)),
                f"{each.weights / 1e6:.2f} M",
                f"{each.latency_ms:.3g} ({each.latency_low_ms:.3g}-{each.latency_high_ms:.3g})",
                f"{each.size_mb:.1f}",
                "-" if each.loss is None else f"{each.loss:.3f}",
                "proposed" if each is proposal.proposed else "" if each.fits else "over the budget",
            )
            for each in proposal.shapes
        ],
    )
    print_line(
        f"{proposal.variant}, one text of {proposal.tokens} tokens, {proposal.threads} threads, {proposal.cpu}; "
        f"{proposal.num_considered} shapes considered, {len(proposal.shapes)} timed in one interleaved run, "
        f"{proposal.seconds:.0f} s"
    )
    if proposal.steps == 0:
        print_line("proposed for its number of weights; name a recipe to compare candidates on its texts")
    print_line(sentence(proposal))
    print_line(f"student: {yaml_of(proposal.proposed.shape)}")


def self_check(result: "SelfCheck") -> None:
    """The A/A test, and the detection of a slower copy."""
    for title, ratios in (("A/A runs", result.aa_ratios), ("slower copy", result.slowed_ratios)):
        print_line(f"{title}: {', '.join(map(bench_table.ratio, ratios))}")
    runs = len(result.aa_ratios)
    print_line(
        f"{result.name}: the 95 % intervals of {runs - result.num_aa_missed} of {runs} A/A runs contain 1.00, with a "
        f"median half-width of {result.median_half_width:.1%}; a copy {result.slowdown:.0%} slower was detected in "
        f"{result.num_detected} of {len(result.slowed_ratios)} runs"
    )


def training(ladder: "TrainingLadder") -> None:
    """The training speeds of each stage."""
    header = ("", "examples/s", "over plain", "over tuned plain", "input share", "peak memory")
    for name, stage in ladder.stages.items():
        print_line(
            f"{name}: {ladder.num_rows} rows, {stage.mean_tokens:.0f} tokens on average, batch size "
            f"{stage.batch_size}, {ladder.rounds} rounds"
        )
        table(header, [_ladder_cells(row) for row in stage.rows])


def _ladder_cells(row: "LadderRow") -> tuple[str, ...]:
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


def augmentation(ladder: "AugmentationLadder") -> None:
    """The speed of each augmentation method, and the memory of ours."""
    header = ("", "ms/word", "ms/text", "a: per word", "per text", "b: per word", "per text", "differing candidates")
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
    print_line(
        f"{ladder.num_texts} texts in {ladder.rounds} rounds, {ladder.num_threads} threads; speedup over one word at a "
        "time (a) and over the first scripts (b)"
    )
    table(header, lines)
    for memory in ladder.memory:
        print_line(
            f"{memory.num_texts:,} texts, {memory.num_rows:,} rows written: peak memory "
            f"{bench_table.megabytes(memory.peak_rss_bytes)}, of which {bench_table.megabytes(memory.before_bytes)} "
            "before the first row"
        )


def loss_curves(compared: "CurveComparison") -> None:
    """The losses of two runs, and the step at which the second reaches each loss of the first."""
    first, second = (run.name for run in compared.runs)
    lines = [
        (
            str(line.step),
            f"{line.first:.3f}",
            "-" if line.second is None else f"{line.second:.3f}",
            str(line.steps_of_second or "not reached"),
        )
        for line in compared.lines
    ]
    table((f"step of {compared.stage}", f"loss of {first}", f"loss of {second}", f"same loss in {second}, step"), lines)


def augmentation_preview(preview: "AugmentationPreview") -> None:
    """Augmented texts with the replaced words marked, and statistics of all words."""
    for example in preview.examples:
        print_line(f"row {example.row}{_column(example)}  {example.original}")
        marked = Text("  ")
        end_of_last = 0
        for word in example.replaced:
            marked.append(one_line(example.text[end_of_last : word.start]))
            marked.append(f"[{one_line(example.text[word.start : word.end])}]", style="bold")
            end_of_last = word.end
        marked.append(one_line(example.text[end_of_last:]))
        new_console().print(marked, soft_wrap=True)
        print_line(f"  instead of {', '.join(f'{word.was} ({word.source})' for word in example.replaced)}")
    for title, sentence in preview.summary:
        print_line(f"{title + ':':<28}{sentence}")
    path("rows", Path(preview.folder))


def _column(example: "AugmentedExample") -> str:
    if not example.is_pair:
        return ""
    return ", first text" if example.column == "text" else ", second text"


def plan(forecast: "RunForecast") -> None:
    """The plan of a run."""
    from pocketbert.pipeline.forecast import at_most, duration, time_phrase

    rows, tokens = forecast.num_rows, forecast.tokens
    outputs = phrases_for(forecast.task_type).outputs(forecast.labels)
    print_line(f"{forecast.name}: {rows.train} train, {rows.dev} dev, {rows.test} test rows; {outputs}")
    for remark in forecast.remarks:
        print_line(f"  {remark}")
    print_line(
        f"  tokens per row: median {tokens.median:.0f}, longest {tokens.longest}; {tokens.share_cut:.1%} of them "
        f"truncated at {tokens.max_length} ({tokens.basis})"
    )
    for role, model in (("teacher", forecast.teacher), ("student", forecast.student)):
        print_line(
            f"{role}: {model.layers} layers x {model.width}, {model.heads} heads, "
            f"{model.num_parameters / 1e6:.1f} M parameters ({model.name})"
        )
    for choice in forecast.choices:
        print_line(f"{choice.key}: {choice.value} ({choice.reason})")
    lines = [
        (stage.name, stage.state, str(stage.num_steps or "-"), duration(stage.estimated_s), at_most(stage.maximum_s))
        for stage in forecast.stages
    ]
    table(("stage", "state", "steps", "about", "at most"), lines)
    for stage in forecast.stages:
        if stage.extrapolated is not None:
            print_line(f"{stage.name}: estimated {stage.extrapolated}")
    print_line(f"{time_phrase(forecast.estimated_s, forecast.maximum_s)} in total on this machine, with all epochs")
    for warning in forecast.warnings:
        print_line(f"warning: {warning}")
    print_line(f"variants: {', '.join(forecast.variants)}; required: {', '.join(forecast.required) or 'none'}")
    path("run folder", Path(forecast.folder))


def machine(report: "DoctorReport") -> None:
    """The machine, the installation, and their problems."""
    from bench.report.page import machine_lines

    for name, value in machine_lines(report.machine):
        print_line(f"{name + ':':<14}{value}")
    print_line(f"{'int8:':<14}{'in hardware' if report.int8_in_hardware else 'no dot product in hardware'}")
    if report.torch_threads is None:
        print_line(f"{'torch:':<14}not installed; only training and export need it")
    else:
        print_line(f"{'torch:':<14}{report.torch_threads} threads, CUDA {'yes' if report.torch_cuda else 'no'}")
    print_line(f"{'onnxruntime:':<14}{', '.join(report.providers) or 'not installed'}")
    for folder, free in report.free_disk_bytes.items():
        print_line(f"{'free disk:':<14}{free / 1e9:.0f} GB at {folder}")
    print_line(f"{'pocketbert:':<14}{report.pocketbert}")
    for problem in report.problems:
        print_line(f"problem: {problem}")
    if not report.problems:
        print_line("no problems")


def pushed(result: "Pushed") -> None:
    """Where a bundle is on the Hub."""
    deleted = f", {len(result.deleted)} others deleted" if result.deleted else ""
    signed = "with" if result.signed else "without"
    print_line(f"{result.url}: {len(result.files)} files, {signed} a signature{deleted}")


def verified(bundle: Path, result: "Verification", *, signature: Path | None = None) -> None:
    """The hashed files and the replayed golden examples of a bundle. `signature`: the one that is valid."""
    changed = f"{result.num_changed} PREDICTIONS CHANGED" if result.num_changed else "no prediction changed"
    print_line(
        f"{bundle}: {result.num_files} files unchanged; {result.num_golden} golden examples replayed, {changed}, "
        f"largest difference {result.largest_difference:.2g}"
    )
    for warning in result.warnings:
        print_line(f"warning: {warning}")
    if signature is None:
        print_line("checksums detect damage; they do not prove who made the bundle")
    else:
        print_line(f"{signature}: valid; the signer has signed exactly these files")


def triton_models(written: "Written") -> None:
    """The models of a repository, and how to start a server on it."""
    table(("model", "bundle"), list(written.models.items()))
    folder, image = shell_path(written.folder), shell_word(written.image)
    gpus = " --gpus 1" if written.gpu else ""
    print_line(f"build:  docker build -t {image} {folder}")
    print_line(f"start:  docker run --rm{gpus} --shm-size 1g -p 8000:8000 -p 8001:8001 {image}")
    print_line(f"KServe: kubectl apply -f {shell_path(f'{written.folder}/{written.service_file}')}")


def cache_contents(contents: "CacheContents") -> None:
    """The entries of the cache, the largest first."""
    lines = [
        (item.name, bench_table.megabytes(item.size_bytes), f"{item.age_days:.0f} days ago", item.state)
        for item in contents.items
    ]
    if lines:
        table(("entry", "size", "last used", "state"), lines)
    print_line(f"{contents.folder}: {total_of(contents.items)}")


def total_of(items: "Sequence[CachedItem]") -> str:
    """The number of cache entries and their total size."""
    count = "1 entry" if len(items) == 1 else f"{len(items)} entries"
    return f"{count}, {bench_table.megabytes(sum(item.size_bytes for item in items))}"


def path(title: str, location: Path) -> None:
    """A file or folder, on one line whatever its length."""
    print_line(f"{title:<11}{location}")


def _cells(content: bench_table.Table) -> None:
    table(content.header, content.cells)


def table(header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    """Columns of text: the first aligned left, the others right."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        grid.add_column(_cell(name), justify="left" if index == 0 else "right", overflow="fold")
    for cells in lines:
        grid.add_row(*map(_cell, cells))
    new_console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(grid)


def _cell(text: str) -> Text:
    return Text(one_line(text))


def print_line(text: str) -> None:
    """The text on one line, whatever its length."""
    new_console().print(one_line(text), soft_wrap=True)
