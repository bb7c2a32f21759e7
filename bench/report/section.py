"""A section of the report, and what all sections share."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.plots.style import Plot
from bench.report import table
from bench.report.table import Table
from bench.results.benchmark import TEXTS, BenchmarkRow, BenchResult
from compress.common import escaping


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    """A section of the report. `note`: how to read its figures."""

    title: str
    note: str
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def input_name(key: str) -> str:
    """The name of an input: TEXTS, or a shape of the grid."""
    return "text to label" if key == TEXTS else key.replace("x", " x ")


def recommended_row(bench: BenchResult, variant: str | None) -> BenchmarkRow | None:
    """The row of the student's recommended variant on the device of the first row; None if it was not timed."""
    return bench.student_bundle(variant)


def as_markdown(parts: Sequence[ReportSection]) -> list[str]:
    """The sections as Markdown, without their plots."""
    lines = []
    for section in parts:
        lines += [f"## {escaping.markdown(section.title)}", escaping.markdown(section.note)]
        for each in section.tables:
            lines += ["", table.markdown(each)]
    return lines
