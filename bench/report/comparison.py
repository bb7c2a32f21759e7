"""Two runs or benchmarks compared: what differs, and whether that may be chance."""

from dataclasses import dataclass

import numpy as np

from bench.measurement import stats
from bench.report import table
from bench.results.benchmark import BenchmarkRow
from bench.results.document import Results
from bench.results.measurements import Machine, Ratio
from compress.common.errors import UserError

HEADER = ("model", "score", "then", "difference", "times as fast", "then", "change", "size", "then")
Z_95 = 1.96


@dataclass(frozen=True, kw_only=True)
class ResultsComparison:
    """Two runs or benchmarks by their names: the rows that both have, as cells under `header`, and remarks."""

    names: tuple[str, str]
    header: tuple[str, ...]
    cells: list[tuple[str, ...]]
    remarks: list[str]


def compare_results(first: Results, second: Results, *, other_machine: bool) -> ResultsComparison:
    """The rows that both results have; they are the same where all is the same that says what was measured.

    Speed is that against each run's own first row, so that it is compared where both have the same. Raises UserError
    where they were measured on other machines, unless `other_machine` says that this is meant, and where they share no
    row.
    """
    there, here = (results.stages.bench for results in (first, second))
    remarks = _machines(there.machine, here.machine, other_machine=other_machine)
    if there.metric != here.metric:
        raise UserError(f"{second.name}: scored by {here.metric}, {first.name} by {there.metric}")
    before, after = ({_identity(row): row for row in bench.rows if row.latency is not None} for bench in (there, here))
    shared = [identity for identity in before if identity in after]
    if not shared:
        raise UserError(f"{first.name} and {second.name} have no model of the same name")
    is_accuracy = there.metric == "accuracy"
    num_rows = [table.num_scored_rows(results) if is_accuracy else None for results in (first, second)]
    cells = [_line(before[identity], after[identity], num_rows) for identity in shared]
    for name, rows, others in ((first.name, before, after), (second.name, after, before)):
        if left := [row.name for identity, row in rows.items() if identity not in others]:
            remarks.append(f"only in {name}: {', '.join(left)}")
    return ResultsComparison(names=(first.name, second.name), header=HEADER, cells=cells, remarks=remarks)


def _identity(row: BenchmarkRow) -> tuple[object, ...]:
    """What makes a row of another benchmark the same system."""
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
            f"measured on other machines ({'; '.join(differ)}): their speeds say nothing of one another",
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
