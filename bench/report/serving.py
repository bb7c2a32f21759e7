"""The report's sections on serving: thread scaling and load."""

from collections.abc import Callable, Iterator, Sequence

from bench.plots import speed_plots
from bench.report import table
from bench.report.section import ReportSection
from bench.report.table import Table
from bench.results.benchmark import BenchmarkRow, BenchResult
from bench.results.measurements import LoadResult, ThreadPoint


def threads(bench: BenchResult, recommended: int | None) -> ReportSection | None:
    """Each system with each number of threads; None if that was not measured. `recommended`: the id of the row."""
    if bench.thread_counts is None:
        return None
    plot = speed_plots.latency_by_threads(bench, recommended)
    counts = [str(count) for count in bench.thread_counts]
    header = ("model", *(f"{count} thread{'s' * (count != '1')}" for count in counts))
    swept = [row for row in bench.rows if row.threads is not None]
    return ReportSection(
        title="Thread scaling",
        note="First table: median milliseconds from text to label, and how many times as fast as the same model with "
        "the fewest threads. Second table: texts per second, in batches. Third table: how many times as fast as the "
        "first model with the same number of threads. All models and thread counts ran interleaved.",
        plots=[] if plot is None else [plot],
        tables=[
            Table(header=header, cells=[_at_counts(row, counts, cell) for row in swept])
            for cell in (_latency_at, _throughput_at, _speedup_over_first_at)
        ],
    )


def _at_counts(row: BenchmarkRow, counts: Sequence[str], cell: Callable[[ThreadPoint], str]) -> tuple[str, ...]:
    """The cells of a row, one for each thread count."""
    assert row.threads is not None
    if row.threads.error is not None:
        return (row.name, f"not measured: {row.threads.error}", *["-"] * (len(counts) - 1))
    points = (row.threads.by_count.get(count) for count in counts)
    return (row.name, *("-" if point is None else cell(point) for point in points))


def _latency_at(point: ThreadPoint) -> str:
    return f"{point.latency.median_ms:.2f} ms, x{table.ratio(point.speedup_over_fewest)}"


def _throughput_at(point: ThreadPoint) -> str:
    return f"{point.texts_per_s:.0f} texts/s"


def _speedup_over_first_at(point: ThreadPoint) -> str:
    return "-" if point.speedup_over_first is None else f"x{table.ratio(point.speedup_over_first)}"


def load(bench: BenchResult, recommended: int | None) -> ReportSection | None:
    """The throughput of each system, and the load at which its latency stays within the bound; None if not measured."""
    test = bench.load
    if test is None:
        return None
    plot = speed_plots.latency_under_load(bench, recommended, test.bound_ms)
    bound = f"99 of 100 within {test.bound_ms:g} ms"
    return ReportSection(
        title="Under load",
        note=f"Texts per second. Closed loop: each process gets its next text as soon as it has finished the last "
        f"(processes: {test.processes}, with {bench.protocol.num_threads} threads each). In batches: all texts are "
        f"available at once. {bound}: the highest rate tried at which 99 % of the texts met this bound, with Poisson "
        "arrivals. Latency counts from the arrival of a text; p50 and p99 are its percentiles at that rate, in ms.",
        plots=[] if plot is None else [plot],
        tables=[
            Table(
                header=("model", "closed loop", "in batches", bound, "p50", "p99", "texts"),
                cells=[(row.name, *_under_load(row.load)) for row in bench.rows if row.load is not None],
            )
        ],
    )


def _under_load(result: LoadResult) -> Iterator[str]:
    """The cells after the row's name."""
    if result.error is not None:
        yield from (f"not measured: {result.error}", *["-"] * 5)
        return
    yield from ("-" if rate is None else f"{rate:.0f}" for rate in (result.closed, result.offline))
    at = next((probe for probe in result.probes if probe.rate == result.highest), None)
    if at is None:
        lowest = min((probe.rate for probe in result.probes), default=None)
        yield from ("none" if lowest is None else f"none from {lowest:.0f} up", "-", "-", "-")
        return
    p99_ms = at.latency.p99_ms
    yield f"{at.rate:.0f}"
    yield f"{at.latency.median_ms:.1f}"
    yield "-" if p99_ms is None else f"{p99_ms:.1f}"
    yield str(at.latency.n)
