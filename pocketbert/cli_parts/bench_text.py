"""Prints benchmarks of machines, shapes, training and augmentation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.report import table as bench_table
from pocketbert.cli_parts import printing

if TYPE_CHECKING:  # some of them load torch
    from bench.augmentation_speed.ladder import AugmentationLadder
    from bench.results.document import ShapeComparison
    from bench.self_check import SelfCheck
    from bench.training_speed.ladder import LadderRow, TrainingLadder


def published_shapes(shapes: "Sequence[ShapeComparison]") -> None:
    """The sizes and speeds of TinyBERT's Table 1, and those measured here."""
    printing.print_line(
        "TinyBERT's Table 1 and here: operations at 128 tokens; times as fast as BERT-base (on a K80; here at 1 x 128)"
    )
    printing.table(
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


def self_check(result: "SelfCheck") -> None:
    """The A/A test, and the detection of a slower copy."""
    for title, ratios in (("A/A runs", result.aa_ratios), ("slower copy", result.slowed_ratios)):
        printing.print_line(f"{title}: {', '.join(map(bench_table.ratio, ratios))}")
    runs = len(result.aa_ratios)
    printing.print_line(
        f"{result.name}: the 95 % intervals of {runs - result.num_aa_missed} of {runs} A/A runs contain 1.00, with a "
        f"median half-width of {result.median_half_width:.1%}; a copy {result.slowdown:.0%} slower was detected in "
        f"{result.num_detected} of {len(result.slowed_ratios)} runs"
    )


def training(ladder: "TrainingLadder") -> None:
    """The training speeds of each stage."""
    header = ("", "examples/s", "over plain", "over tuned plain", "input share", "peak memory")
    for name, stage in ladder.stages.items():
        printing.print_line(
            f"{name}: {ladder.num_rows} rows, {stage.mean_tokens:.0f} tokens on average, batch size "
            f"{stage.batch_size}, {ladder.rounds} rounds"
        )
        printing.table(header, [_ladder_cells(row) for row in stage.rows])


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
    printing.print_line(
        f"{ladder.num_texts} texts in {ladder.rounds} rounds, {ladder.num_threads} threads; speedup over one word at a "
        "time (a) and over the first scripts (b)"
    )
    printing.table(header, lines)
    for memory in ladder.memory:
        printing.print_line(
            f"{memory.num_texts:,} texts, {memory.num_rows:,} rows written: peak memory "
            f"{bench_table.megabytes(memory.peak_rss_bytes)}, of which {bench_table.megabytes(memory.before_bytes)} "
            "before the first row"
        )
