"""The files of an ablation: ablation.json with all figures, ablation.md with the tables, ablation.svg with a plot."""

import json
from collections.abc import Iterator

from pydantic_core import to_jsonable_python

from bench.plots.difference_plot import DifferenceMark, differences
from bench.report.table import Table, markdown
from compress.common import escaping
from compress.common.owned_files import OwnedFolder
from pocketbert.ablation.paired_seeds import Mean, SeedDifference
from pocketbert.ablation.summary import Ablation, TableResult, VariantResult

FILES = ("ablation.json", "ablation.md", "ablation.svg")
TITLES = {
    "procedures": "Procedures (TinyBERT, table 2)",
    "objectives": "Objectives (TinyBERT, table 3)",
    "mapping": "Layer mapping (TinyBERT, table 4)",
    "initialisation": "First weights and number of steps",
    "augmentation": "Augmentation",
    "baselines": "Baselines at equal steps",
    "own": "Own variants",
}


def write_documents(owned: OwnedFolder, ablation: Ablation) -> None:
    """Write the three files. Files of an earlier call are replaced."""
    owned.write_text("ablation.json", json.dumps(to_jsonable_python(ablation), indent=1) + "\n")
    owned.write_text("ablation.md", markdown_of(ablation))
    marks = [mark for table in ablation.tables for mark in _marks(table)]
    if marks:
        owned.write_text("ablation.svg", differences(marks, metric=f"{ablation.metric_name} on {ablation.scored_on}"))


def table_of(ablation: Ablation, table: TableResult) -> Table:
    """A table as text: a row for each variant, the recipe first. The paper has columns if it has such variants."""
    split = ablation.scored_on
    header = (
        "variant", "seeds", "steps", f"{ablation.metric_name}, {split}", "difference, other seeds",
        "difference, other rows", "verdict", "paper", "paper's difference",
    )  # fmt: skip
    num_columns = len(header) if _has_paper(table) else len(header) - 2
    cells = [_cells(variant)[:num_columns] for variant in table.variants]
    return Table(header=header[:num_columns], cells=cells)


def markdown_of(ablation: Ablation) -> str:
    """All tables with their notes."""
    return "\n\n".join(_parts(ablation)) + "\n"


def notes_of(ablation: Ablation) -> list[str]:
    """What a reader of the tables must know."""
    rows, teacher = ablation.num_rows, ablation.teacher
    notes = [
        f"{rows.train:,} train, {rows.dev:,} dev and {rows.test:,} test rows; {ablation.num_seeds} "
        f"seed{'s' * (ablation.num_seeds != 1)} per variant, the same for all. The best epoch is chosen on dev.",
        "A difference is that from the recipe, paired by seed and row: with its 95% t interval over seeds, and its 95% "
        "bootstrap interval over rows. A verdict needs both intervals on the same side of 0.",
    ]
    if any(map(_has_paper, ablation.tables)):
        notes.append(
            "The paper's columns are means of four scores on dev (MNLI-m, MNLI-mm, MRPC, CoLA), in percent, for a "
            "student with 4 layers of width 312 and another schedule: compare signs and order, not sizes."
        )
    if ablation.scored_on == "dev":
        notes.append("The task has too few rows for a test split: scores are from the rows that chose the epoch.")
    if teacher is not None:
        notes.insert(0, f"Teacher: {teacher.dev:.3f} on dev, {teacher.test:.3f} on test.")
    if ablation.cpus:
        notes.append(f"Trained on {'; '.join(ablation.cpus)}, with PocketBERT {ablation.version}.")
    notes += [f"Diverged: {line}" for line in ablation.diverged]
    if ablation.num_missing:
        notes.append(f"{ablation.num_missing} of {ablation.num_trainings} students are not finished.")
    return notes


def _has_paper(table: TableResult) -> bool:
    """Whether the paper has one of the variants."""
    return any(variant.paper_difference is not None for variant in table.variants)


def _parts(ablation: Ablation) -> Iterator[str]:
    yield f"# Ablation of {escaping.markdown(ablation.name)}"
    yield "\n".join(f"- {escaping.markdown(note)}" for note in notes_of(ablation))
    for table in ablation.tables:
        yield f"## {TITLES[table.name]}"
        yield markdown(table_of(ablation, table))
        changed = [variant for variant in table.variants if variant.changes]
        if changed:
            yield "\n".join(
                f"- {escaping.markdown(variant.name)}: {escaping.markdown(' '.join(variant.changes))}"
                for variant in changed
            )
        if table.left_out:
            yield "\n".join(f"- Left out: {escaping.markdown(reason)}" for reason in table.left_out)
    yield f"Shared by all variants: {escaping.markdown(' '.join(ablation.pins))}"


def _cells(variant: VariantResult) -> tuple[str, ...]:
    difference = variant.difference
    verdict = ", ".join(part for part in (variant.verdict or "", variant.agrees) if part)
    paper = "-" if variant.paper is None else f"{variant.paper:.1f}"
    return (
        variant.name,
        f"{variant.num_seeds}"
        if variant.num_seeds == variant.num_planned
        else f"{variant.num_seeds} of {variant.num_planned}",
        " + ".join(f"{steps:,}" for steps in variant.num_steps.values()) or "-",
        "-" if variant.test is None else mean_text(variant.test),
        "-" if difference is None else mean_text(difference.seeds, sign="+"),
        "-" if difference is None else _rows(difference),
        verdict or "-",
        paper,
        "-" if variant.paper_difference is None else f"{variant.paper_difference:+.1f}",
    )


def mean_text(mean: Mean, sign: str = "") -> str:
    """A mean with its interval, if it has one. `sign`: "+" for a difference."""
    value = f"{mean.value:{sign}.3f}"
    return value if mean.low is None else f"{value} ({mean.low:{sign}.3f} to {mean.high:{sign}.3f})"


def _rows(difference: SeedDifference) -> str:
    return f"{difference.rows_low:+.3f} to {difference.rows_high:+.3f}"


def _marks(table: TableResult) -> Iterator[DifferenceMark]:
    for variant in table.variants:
        if variant.difference is not None:
            seeds = variant.difference.seeds
            yield DifferenceMark(
                group=TITLES[table.name],
                name=variant.name,
                value=seeds.value,
                seeds=None if seeds.low is None or seeds.high is None else (seeds.low, seeds.high),
                rows=(variant.difference.rows_low, variant.difference.rows_high),
                is_separable=variant.verdict in ("higher", "lower"),
            )
