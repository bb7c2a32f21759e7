"""A section of the report, and how it names what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.report import table
from bench.report.table import Table
from bench.results.benchmark import TEXTS


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    """A part of the report. `plots`: SVG."""

    title: str
    words: str
    plots: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def place_name(place: str) -> str:
    """An input of the breakdown or a shape, in words."""
    return "text to label" if place == TEXTS else place.replace("x", " x ")


def as_markdown(parts: Sequence[ReportSection]) -> list[str]:
    """The sections without their plots."""
    lines = []
    for section in parts:
        lines += [f"## {section.title}", section.words]
        for each in section.tables:
            lines += ["", table.markdown(each)]
    return lines
