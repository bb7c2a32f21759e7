"""The benchmark as a table of text, the same in the terminal, in Markdown and in HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.results.benchmark import AbsentSystem, BenchmarkRow, BenchResult
from bench.results.document import Results
from bench.results.measurements import Ratio, Summary
from compress.common import escaping

HEADER = ("model", "size", "parameters", "score", "ms, median", "p90", "p95", "p99", "times as fast", "texts/s")
SHORT_REASON = 16  # characters of an error that fit into a column; longer errors are printed below the table


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells of text: every row has as many as the header."""

    header: tuple[str, ...]
    cells: list[tuple[str, ...]]


def benchmark_table(results: Results) -> Table:
    """One row for each system; systems that were not measured come last."""
    bench = results.stages.bench
    cells = [*map(_cells, bench.rows), *map(_absent_cells, bench.absent)]
    return Table(header=_header(bench, scored_rows(results)), cells=cells)


def _header(bench: BenchResult, split: str) -> tuple[str, ...]:
    """HEADER with the name of the metric and of the split it was computed on."""
    is_scored = any(row.score is not None for row in bench.rows)
    metric = f"{bench.metric_name} ({split})" if is_scored else "score"
    return tuple(metric if name == "score" else name for name in HEADER)


def scored_rows(results: Results) -> str:
    """The split that the scores were computed on."""
    return "--data" if results.run is None else results.run.scored_split


def num_scored_rows(results: Results) -> int | None:
    """The number of rows that the scores were computed on; None for a benchmark without a run."""
    return None if results.run is None else results.run.num_scored_rows


def by_shape(bench: BenchResult) -> Table:
    """Latency and speedup of the model only, by the shape of its input."""
    cells = [
        (
            row.name,
            *(_at_shape(row.latency_by_shape.get(shape), row.speedup_by_shape.get(shape)) for shape in bench.grid),
        )
        for row in bench.rows
        if row.latency_by_shape
    ]
    return Table(header=("model", *map(_words_for, bench.grid)), cells=cells)


def megabytes(num_bytes: float) -> str:
    """Decimal megabytes."""
    return f"{num_bytes / 1e6:.1f} MB"


def ratio(value: Ratio | None) -> str:
    """A ratio with its interval."""
    return "-" if value is None else f"{value.value:.2f} ({value.low:.2f}-{value.high:.2f})"


def markdown(table: Table, *, numbers: bool = True) -> str:
    """A Markdown table. `numbers`: whether all columns but the first are aligned right."""
    rule = "---:" if numbers else "---"
    lines: list[Sequence[str]] = [table.header, ["---", *[rule] * (len(table.header) - 1)], *table.cells]
    escaped = ([escaping.markdown(cell, in_cell=True) for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def _cells(row: BenchmarkRow) -> tuple[str, ...]:
    size = megabytes(row.size_bytes)
    if row.latency is None:
        return (row.name, size if row.size_bytes else "-", "-", "-", _short(row.error), *["-"] * 5)
    latency = row.latency
    return (
        row.name,
        size,
        "-" if row.num_parameters is None else f"{row.num_parameters / 1e6:.2f} M",
        "-" if row.score is None else f"{row.score:.3f}",
        f"{latency.median_ms:.2f}",
        *("too few" if ms is None else f"{ms:.2f}" for ms in (latency.p90_ms, latency.p95_ms, latency.p99_ms)),
        ratio(row.speedup),
        "-" if row.texts_per_s is None else f"{row.texts_per_s:.0f}",
    )


def _absent_cells(absent: AbsentSystem) -> tuple[str, ...]:
    return (absent.name, "-", "-", "-", _short(absent.reason), *["-"] * 5)


def _short(reason: str | None) -> str:
    return reason if reason and len(reason) <= SHORT_REASON else "not measured"


def _words_for(shape: str) -> str:
    batch, _, length = shape.partition("x")
    return f"{length} tokens" if batch == "1" else f"{batch} x {length} tokens"


def _at_shape(latency: Summary | None, speedup: Ratio | None) -> str:
    if latency is None:
        return "-"
    return f"{latency.median_ms:.2f} ms" + ("" if speedup is None else f", x{speedup.value:.1f}")
