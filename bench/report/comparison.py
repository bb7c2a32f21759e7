"""Compares two runs or benchmarks: their differences, and whether these may be chance."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.measurement import stats
from bench.report import table
from bench.results.benchmark import BenchmarkRow
from bench.results.document import Results
from bench.results.measurements import Effort, Machine, Ratio
from compress.common.errors import UserError

HEADER = (
    "model",
    "score, first",
    "second",
    "difference",
    "times as fast, first",
    "second",
    "change",
    "size, first",
    "second",
)
Z_95 = 1.96


@dataclass(frozen=True, kw_only=True)
class ResultsComparison:
    """Two runs or benchmarks, by name: the cells of the rows that both have, under `header`, and remarks."""

    names: tuple[str, str]
    header: tuple[str, ...]
    cells: list[tuple[str, ...]]
    remarks: list[str]


def compare_results(first: Results, second: Results, *, other_machine: bool) -> ResultsComparison:
    """Compare the rows of the same system (label, variant, engine, device and precision) in both results.

    Speedups are those over the first row of each benchmark. Raises UserError if the results are from two machines,
    unless `other_machine` allows it, if their metrics differ, and if they share no row.
    """
    first_bench, second_bench = first.stages.bench, second.stages.bench
    remarks = _machines(first_bench.machine, second_bench.machine, other_machine=other_machine)
    remarks += _efforts(first_bench.protocol.effort, second_bench.protocol.effort)
    remarks += _scored_rows(first, second)
    if first_bench.metric_name != second_bench.metric_name:
        raise UserError(
            f"{second.name}: scored by {second_bench.metric_name}, {first.name} by {first_bench.metric_name}"
        )
    before, after = (
        {_identity(row): row for row in bench.rows if row.latency is not None} for bench in (first_bench, second_bench)
    )
    shared = [identity for identity in before if identity in after]
    if not shared:
        raise UserError(f"{first.name} and {second.name} have no row in common")
    is_accuracy = first_bench.metric == "accuracy"
    num_rows = [table.num_scored_rows(results) if is_accuracy else None for results in (first, second)]
    cells = [_line(before[identity], after[identity], num_rows) for identity in shared]
    for name, rows, others in ((first.name, before, after), (second.name, after, before)):
        if unmatched := [row.name for identity, row in rows.items() if identity not in others]:
            remarks.append(f"only in {name}: {', '.join(unmatched)}")
    return ResultsComparison(names=(first.name, second.name), header=HEADER, cells=cells, remarks=remarks)


def _identity(row: BenchmarkRow) -> tuple[object, ...]:
    """The fields that identify a system across benchmarks."""
    return (row.label, row.variant, row.engine, row.device, row.precision, row.compiled, row.random_head)


def _machines(first: Machine, second: Machine, *, other_machine: bool) -> list[str]:
    facts = (
        ("cpu", first.cpu, second.cpu),
        ("usable_cores", first.usable_cores, second.usable_cores),
        ("gpu_name", _gpu_name(first), _gpu_name(second)),
    )
    differ = [f"{name}: {one} and {other}" for name, one, other in facts if one != other]
    if differ and not other_machine:
        raise UserError(
            f"measured on different machines ({'; '.join(differ)}): their speeds cannot be compared",
            option="other_machine",
        )
    versions = [
        f"{name} {first.versions.get(name, 'none')} and {second.versions.get(name, 'none')}"
        for name in sorted({*first.versions, *second.versions})
        if first.versions.get(name) != second.versions.get(name)
    ]
    return [
        *(["OTHER MACHINES: " + "; ".join(differ)] if differ else []),
        *(["other versions: " + ", ".join(versions)] if versions else []),
    ]


def _efforts(first: Effort | None, second: Effort | None) -> list[str]:
    """A remark on different efforts: the quicker benchmark is the less certain one. None for older results."""
    if first is None or second is None or first == second:
        return []
    return [f"other effort: {first} and {second}; for a speedup, compare benchmarks of the same effort"]


def _scored_rows(first: Results, second: Results) -> Iterator[str]:
    """Remarks on smoke runs, and on scores of other rows."""
    for results in (first, second):
        if results.is_smoke:
            yield f"{results.name} is a smoke run: its scores and speeds say nothing about a full run"
    if first.run is not None and second.run is not None:
        rows = [f"{run.num_scored_rows:,} {run.scored_split} rows" for run in (first.run, second.run)]
        if rows[0] != rows[1]:
            yield f"other rows: scored on {rows[0]} and on {rows[1]}, so a difference may come from the rows"


def _gpu_name(machine: Machine) -> str | None:
    return None if machine.gpu is None else machine.gpu.name


def _line(before: BenchmarkRow, after: BenchmarkRow, num_rows: list[int | None]) -> tuple[str, ...]:
    return (
        before.name,
        *_scores(before.score, after.score, num_rows),
        *_speeds(before.speedup, after.speedup),
        table.megabytes(before.size_bytes),
        table.megabytes(after.size_bytes),
    )


def _scores(before: float | None, after: float | None, num_rows: list[int | None]) -> tuple[str, str, str]:
    if before is None or after is None:
        return ("-", "-", "-")
    difference = f"{after - before:+.3f}"
    first, second = num_rows
    if first and second:
        half = Z_95 * float(np.sqrt(before * (1 - before) / first + after * (1 - after) / second))
        difference += "" if abs(after - before) > half else f" (not significant: within {half:.3f})"
    return (f"{before:.3f}", f"{after:.3f}", difference)


def _speeds(before: Ratio | None, after: Ratio | None) -> tuple[str, str, str]:
    if before is None or after is None:
        return ("-", "-", "-")
    half = np.hypot(*(np.log(ratio.high / ratio.low) / 2 for ratio in (before, after)))
    change = np.log(after.value / before.value)
    ratio = Ratio(value=float(np.exp(change)), low=float(np.exp(change - half)), high=float(np.exp(change + half)))
    return (table.ratio(before), table.ratio(after), f"{table.ratio(ratio)}: {stats.verdict(ratio)}")
