"""The quickstart's table in the README, from results/quickstart/results.json."""

from collections.abc import Sequence
from pathlib import Path

from bench.report.caveats import WIDE_INTERVAL
from bench.report.effort import few_calls
from bench.results.benchmark import BenchmarkRow, BenchResult
from bench.results.document import Results
from regions.cells import (
    bold,
    bullets,
    machine_words,
    megabytes,
    minutes,
    ratio,
    read_json,
    read_results,
    table,
)

SHOWN = {  # the rows of the table, by role and variant; the report has more
    ("teacher", None), ("teacher", "int8-static"), ("student", "int8-static"), ("student", "int4-static"),
    ("baseline", None),
}  # fmt: skip


def _results(results: Path) -> Results:
    return read_results(results / "quickstart" / "results.json")


def quickstart_table(results: Path) -> str:
    """Size, accuracy, latency, speedup and throughput of each model; the recommended variant in bold."""
    run = _results(results)
    assert run.stages.export is not None
    rows = []
    for row in _table_rows(run.stages.bench):
        is_recommended = row.role == "student" and row.variant == run.stages.export.recommended
        rows.append(bold(_cells(row)) if is_recommended else _cells(row))
    return table(("model", "size", "accuracy", "median, ms", "p95, ms", "times as fast", "texts/s"), rows)


def _cells(row: BenchmarkRow) -> list[str]:
    assert row.latency is not None and row.latency.p95_ms is not None
    name = f"baseline: {row.name}" if row.role == "baseline" else row.name
    return [
        name,
        megabytes(row.size_bytes),
        f"{row.score:.3f}",
        f"{row.latency.median_ms:.2f}",
        f"{row.latency.p95_ms:.2f}",
        ratio(row.speedup),
        f"{row.texts_per_s:,.0f}",
    ]


def _table_rows(bench: BenchResult) -> list[BenchmarkRow]:
    return [row for row in bench.rows if (row.role, row.variant) in SHOWN and not row.compiled]


def quickstart_facts(results: Path) -> str:
    """What was measured, where, and how."""
    run = _results(results)
    bench, rows = run.stages.bench, run.run
    assert rows is not None and run.stages.export is not None and run.stages.export.recommended is not None
    calls = few_calls(_bundle(bench, "student", run.stages.export.recommended))
    return bullets(
        (
            f"{_made_by(run)} Machine: {machine_words(bench.machine)}.",
            _takes(results),
            f"Accuracy is on {rows.num_rows.test:,} test rows. Latency is from text to label, one text at a time, "
            f"with {bench.protocol.num_threads} threads per model{f' ({calls})' if calls else ''}.",
            '"Times as fast" compares with the first row. The 95% interval is in parentheses. Bold marks the '
            "recommended variant.",
            *_noise(_table_rows(bench)),
        )
    )


def _takes(results: Path) -> str:
    """How long `make quickstart` takes now, and the scores that it reaches."""
    run = read_json(results / "auto" / "quickstart.json")
    scores = {name: f"{values[0]:.3f}" for name, values in run["scores"].items()}
    return (
        f"`make quickstart` takes {minutes(sum(run['taken_s'].values()))} on this machine, with a quick benchmark: "
        f"teacher {scores['teacher']}, {run['variant']} student {scores['bundle']}."
    )


def _made_by(run: Results) -> str:
    """The command that made the table, and its duration."""
    effort, seconds = run.stages.bench.protocol.effort, run.stage_seconds
    of_benchmark = f"of which the {effort or ''} benchmark took".replace("  ", " ")
    duration = f"{minutes(sum(seconds.values()))}, {of_benchmark} {minutes(seconds['bench'])}"
    if effort is None:
        return f"The quickstart of version 0.3, which trained longer, made this table in {duration}."
    if effort == "quick":
        return f"`make quickstart` made this table in {duration}."
    return (
        f"`make figures` made this table in {duration}. `make quickstart` runs the same recipe with a quick benchmark."
    )


def _noise(rows: Sequence[BenchmarkRow]) -> list[str]:
    """A sentence about wide intervals, by the report's own limit; empty if there are none."""
    ratios = [row.speedup for row in rows[1:] if row.speedup is not None]
    num_wide = sum((each.high - each.low) / 2 > WIDE_INTERVAL * each.value for each in ratios)
    if not num_wide:
        return []
    return [
        f"The machine was noisy: {num_wide} of {len(ratios)} speedups are uncertain by more than {WIDE_INTERVAL:.0%}."
    ]


def _bundle(bench: BenchResult, role: str, variant: str) -> BenchmarkRow:
    return next(row for row in bench.rows if (row.role, row.variant, row.device) == (role, variant, "cpu"))


REGIONS = {"quickstart-table": quickstart_table, "quickstart-facts": quickstart_facts}
