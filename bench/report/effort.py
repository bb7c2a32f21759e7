"""What the effort of a benchmark means for its figures: the calls behind a median, and what was left out."""

from bench.measurement.stats import MIN_SAMPLES
from bench.results.benchmark import BenchmarkRow, BenchResult
from bench.results.document import Results

FEW_CALLS = max(MIN_SAMPLES.values())  # with fewer, there is no 99th percentile, and a headline has their number


def certainty(row: BenchmarkRow) -> str:
    """How certain a speedup is: " (95 % interval 2.6 to 3.9; median of 60 calls)". Many calls are not mentioned."""
    speedup = row.speedup
    interval = None if speedup is None else f"95 % interval {speedup.low:.1f} to {speedup.high:.1f}"
    parts = "; ".join(filter(None, (interval, few_calls(row))))
    return f" ({parts})" if parts else ""


def few_calls(row: BenchmarkRow) -> str:
    """The number of calls, such as "median of 60 calls"; empty if there are many."""
    if row.latency is None or row.latency.n >= FEW_CALLS:
        return ""
    return f"median of {row.latency.n} calls"


def effort_sentences(results: Results) -> str:
    """The effort and what the benchmark omits, for the description of its method. Empty without a level.

    The list follows from the results, not from the level, because explicit settings win over the level.
    """
    bench = results.stages.bench
    effort = bench.protocol.effort
    if effort is None:
        return ""
    omitted = _omitted(results)
    if not omitted:
        return f"The effort was {effort}."
    remedy = "" if effort == "thorough" else f" {_setting(results, 'thorough')} measures all of it."
    return f"The effort was {effort}. This benchmark omits {_listed(omitted)}.{remedy}"


def quick_caveat(results: Results) -> str | None:
    """The caveat on a quick benchmark; None for any other, and if there are many calls."""
    bench = results.stages.bench
    calls = min((row.latency.n for row in bench.rows if row.latency is not None), default=None)
    if bench.protocol.effort != "quick" or calls is None or calls >= FEW_CALLS:
        return None
    return (
        f"This was a quick benchmark: each median is of {calls} calls in {_processes(bench)}. That is enough to choose "
        "a variant. It is too few for a 99th percentile, and intervals are wide. Before you publish a speedup, measure "
        f"again with {_setting(results, 'thorough')}."
    )


def _omitted(results: Results) -> list[str]:
    bench = results.stages.bench
    omitted = [] if bench.grid else ["the latency by input length"]
    if results.run is not None:  # a benchmark without a run measures the following on request only
        torch_rows = [row for row in bench.rows if row.role == "teacher" and row.engine == "torch"]
        if torch_rows and not any(row.compiled for row in torch_rows):
            omitted.append("the teacher under torch.compile")
        if bench.ceilings is None:
            omitted += ["the roofline", "the time per operator"]
    return omitted


def _setting(results: Results, effort: str) -> str:
    """The setting of another effort, as code."""
    return f"`--effort {effort}`" if results.run is None else f"`--set bench.effort={effort}`"


def _processes(bench: BenchResult) -> str:
    count = len(range(0, bench.protocol.rounds, bench.protocol.restart_every))
    return "one process" if count == 1 else f"{count} processes"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
