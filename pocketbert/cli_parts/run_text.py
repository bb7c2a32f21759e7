"""Prints runs, their plans and what came of them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from bench.report import parity_table
from bench.report import table as bench_table
from bench.results.phrases import phrases_for
from compress.common.console import new_console
from compress.common.escaping import one_line
from pocketbert.cli_parts import printing

if TYPE_CHECKING:  # some of them load torch
    from bench.plots.loss_curves import CurveComparison
    from bench.report.comparison import ResultsComparison
    from bench.results.document import Results
    from export.results import ExportResult
    from pocketbert.pipeline.flow import RunResult
    from pocketbert.pipeline.forecast import RunForecast
    from pocketbert.shape_design.proposal import Design
    from pocketbert.standalone.augmentation_preview import AugmentationPreview, AugmentedExample


PROSE_WIDTH = 100  # of sentences in a terminal


def outcome(run: "RunResult") -> None:
    """The table of a run, its summary, and the paths of its files."""
    if run.results is not None:
        from pocketbert.pipeline.run_summary import summary_lines

        benchmark(run.results)
        width = min(new_console().width, PROSE_WIDTH) if sys.stdout.isatty() else None
        for line in [*summary_lines(run.results, run.folder, width=width), ""]:
            printing.print_line(line)
    for file in sorted((run.folder / "bundles").glob("*/bundle.json")):
        printing.path("bundle", file.parent)
    if run.results is not None:
        printing.path("report", run.report)
        printing.path("figures", run.folder / "results.json")


def benchmark(results: "Results") -> None:
    """The rows of a benchmark, and the reasons for missing ones."""
    bench = results.stages.bench
    printing.cells(bench_table.benchmark_table(results))
    failed = [(row.name, row.error) for row in bench.rows if row.error]
    for name, reason in (*failed, *((absent.name, absent.reason) for absent in bench.absent)):
        if len(reason) > bench_table.SHORT_REASON:
            printing.print_line(f"{name} was not measured: {reason}")


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
    printing.table(("variant", "size", "score", "torch", "label flips", "bundle"), lines)


def explanation(exported: "ExportResult") -> None:
    """The parity table, the meaning of its columns, and all results of each variant."""
    printing.cells(parity_table.parity_table(exported))
    for column, meaning in parity_table.MEANINGS:
        printing.print_line(f"{column}: {meaning}")
    for title, sentences in parity_table.explain_variants(exported):
        printing.print_line("")
        printing.print_line(title)
        for sentence in sentences:
            printing.print_line(f"  {sentence}")


def comparison(compared: "ResultsComparison") -> None:
    """Two runs compared, one line per model."""
    first, second = compared.names
    printing.print_line(f"{first}, then {second}; times as fast: relative to the first row of the same run")
    printing.table(compared.header, compared.cells)
    for remark in compared.remarks:
        printing.print_line(remark)


def plan(forecast: "RunForecast") -> None:
    """The plan of a run."""
    from pocketbert.pipeline.forecast import at_most, duration, time_phrase

    rows, tokens = forecast.num_rows, forecast.tokens
    outputs = phrases_for(forecast.task_type).outputs(forecast.labels)
    printing.print_line(f"{forecast.name}: {rows.train} train, {rows.dev} dev, {rows.test} test rows; {outputs}")
    for remark in forecast.remarks:
        printing.print_line(f"  {remark}")
    printing.print_line(
        f"  tokens per row: median {tokens.median:.0f}, longest {tokens.longest}; {tokens.share_cut:.1%} of them "
        f"truncated at {tokens.max_length} ({tokens.basis})"
    )
    for role, model in (("teacher", forecast.teacher), ("student", forecast.student)):
        printing.print_line(
            f"{role}: {model.layers} layers x {model.width}, {model.heads} heads, "
            f"{model.num_parameters / 1e6:.1f} M parameters ({model.name})"
        )
    for choice in forecast.choices:
        printing.print_line(f"{choice.key}: {choice.value} ({choice.reason})")
    lines = [
        (stage.name, stage.state, str(stage.num_steps or "-"), duration(stage.estimated_s), at_most(stage.maximum_s))
        for stage in forecast.stages
    ]
    printing.table(("stage", "state", "steps", "about", "at most"), lines)
    for stage in forecast.stages:
        if stage.extrapolated is not None:
            printing.print_line(f"{stage.name}: estimated {stage.extrapolated}")
    printing.print_line(
        f"{time_phrase(forecast.estimated_s, forecast.maximum_s)} in total on this machine, with all epochs"
    )
    for warning in forecast.warnings:
        printing.print_line(f"warning: {warning}")
    printing.print_line(f"variants: {', '.join(forecast.variants)}; required: {', '.join(forecast.required) or 'none'}")
    printing.path("run folder", Path(forecast.folder))


def design(proposal: "Design") -> None:
    """The timed shapes, the proposal and what it costs."""
    from pocketbert.shape_design.proposal import sentence, yaml_of

    printing.table(
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
    printing.print_line(
        f"{proposal.variant}, one text of {proposal.tokens} tokens, {proposal.threads} threads, {proposal.cpu}; "
        f"{proposal.num_considered} shapes considered, {len(proposal.shapes)} timed in one interleaved run, "
        f"{proposal.seconds:.0f} s"
    )
    if proposal.steps == 0:
        printing.print_line("proposed for its number of weights; name a recipe to compare candidates on its texts")
    printing.print_line(sentence(proposal))
    printing.print_line(f"student: {yaml_of(proposal.proposed.shape)}")


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
    printing.table(
        (f"step of {compared.stage}", f"loss of {first}", f"loss of {second}", f"same loss in {second}, step"), lines
    )


def augmentation_preview(preview: "AugmentationPreview") -> None:
    """Augmented texts with the replaced words marked, and statistics of all words."""
    for example in preview.examples:
        printing.print_line(f"row {example.row}{_column(example)}  {example.original}")
        marked = Text("  ")
        end_of_last = 0
        for word in example.replaced:
            marked.append(one_line(example.text[end_of_last : word.start]))
            marked.append(f"[{one_line(example.text[word.start : word.end])}]", style="bold")
            end_of_last = word.end
        marked.append(one_line(example.text[end_of_last:]))
        new_console().print(marked, soft_wrap=True)
        printing.print_line(f"  instead of {', '.join(f'{word.was} ({word.source})' for word in example.replaced)}")
    for title, sentence in preview.summary:
        printing.print_line(f"{title + ':':<28}{sentence}")
    printing.path("rows", Path(preview.folder))


def _column(example: "AugmentedExample") -> str:
    if not example.is_pair:
        return ""
    return ", first text" if example.column == "text" else ", second text"
