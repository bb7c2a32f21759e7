"""What the report states about the effort of the benchmark."""

from dataclasses import replace

from bench.measurement.stats import speed_ratio
from bench.report.caveats import caveats_of
from bench.report.comparison import compare_results
from bench.report.effort import certainty, effort_sentences
from bench.report.page import page_of
from bench.report.render import html_of, markdown_of
from bench.results.benchmark import BenchResult
from bench.results.document import Results
from bench.results.measurements import Effort, Ratio
from example_results import BENCH, RESULTS

OMITTED = "the latency by input length, the teacher under torch.compile, the roofline and the time per operator"


def with_bench(bench: BenchResult, *, is_run: bool = True) -> Results:
    run = RESULTS.run if is_run else None
    return replace(RESULTS, stages=replace(RESULTS.stages, bench=bench), run=run)


def of_effort(effort: Effort | None, calls: int, **changes: object) -> BenchResult:
    rows = [replace(row, latency=row.latency and replace(row.latency, n=calls, p99_ms=None)) for row in BENCH.rows]
    return replace(BENCH, protocol=replace(BENCH.protocol, effort=effort, **changes), rows=rows)


def quick() -> BenchResult:
    bench = of_effort("quick", 60, rounds=3, restart_every=1)
    rows = [replace(row, latency_by_shape={}, speedup_by_shape={}, profiles=[]) for row in bench.rows]
    return replace(bench, rows=rows, grid=[], ceilings=None)


def test_a_quick_benchmark_names_what_it_omits_and_how_to_measure_it():
    sentences = effort_sentences(with_bench(quick()))
    assert sentences == (
        f"The effort was quick. This benchmark omits {OMITTED}. `--set bench.effort=thorough` measures all of it."
    )


def test_a_quick_benchmark_has_one_caveat_about_its_few_calls():
    caveats = [each for each in caveats_of(with_bench(quick())) if "calls" in each]
    assert len(caveats) == 1
    assert "each median is of 60 calls in 3 processes" in caveats[0] and "--set bench.effort=thorough" in caveats[0]


def test_the_option_is_named_for_a_benchmark_without_a_run():
    results = with_bench(quick(), is_run=False)
    assert "This benchmark omits the latency by input length. `--effort thorough`" in effort_sentences(results)
    assert any("`--effort thorough`" in each for each in caveats_of(results))


def test_explicit_settings_that_measure_more_are_not_called_omitted():
    results = with_bench(replace(of_effort("quick", 400), grid=BENCH.grid, ceilings=BENCH.ceilings))
    assert "omits the teacher under torch.compile." in effort_sentences(results)
    assert not any("quick benchmark" in each for each in caveats_of(results))


def test_a_standard_benchmark_names_what_it_omits():
    results = with_bench(replace(of_effort("standard", 300), ceilings=None))
    omitted = "the teacher under torch.compile, the roofline and the time per operator"
    assert effort_sentences(results).startswith(f"The effort was standard. This benchmark omits {omitted}.")
    assert not any("quick" in each for each in caveats_of(results))


def test_a_thorough_benchmark_omits_nothing():
    rows = [*BENCH.rows, replace(BENCH.rows[0], id=99, compiled=True)]
    bench = replace(BENCH, protocol=replace(BENCH.protocol, effort="thorough"), rows=rows)
    assert effort_sentences(with_bench(bench)) == "The effort was thorough."
    assert effort_sentences(RESULTS) == ""


def test_a_headline_has_the_interval_and_the_number_of_few_calls():
    few, enough = (replace(of_effort("quick", calls).rows[0], speedup=None) for calls in (60, 299))
    assert (certainty(few), certainty(enough)) == (" (median of 60 calls)", "")
    speedup = Ratio(value=81.1, low=31.04, high=584.0)
    assert certainty(replace(few, speedup=speedup)) == " (95 % interval 31.0 to 584.0; median of 60 calls)"
    assert certainty(replace(enough, speedup=speedup)) == " (95 % interval 31.0 to 584.0)"


def test_the_report_of_a_quick_benchmark_has_the_number_of_calls_and_can_be_drawn():
    page = page_of(with_bench(quick()))
    assert any(tile.what.endswith("; median of 60 calls)") for tile in page.tiles)
    assert "median of 60 calls" in html_of(page) and "The effort was quick." in html_of(page)
    assert "Latency by input length" not in markdown_of(page)


def test_equal_times_have_a_ratio():
    equal = [[[0.001] * 5] * 4] * 3
    assert speed_ratio(equal, equal).value == speed_ratio(equal, equal).high == 1.0


def test_a_comparison_remarks_on_different_efforts():
    first, second = with_bench(quick()), with_bench(of_effort("thorough", 360))
    remarks = compare_results(first, second, other_machine=False).remarks
    assert any("other effort: quick and thorough" in each for each in remarks)
    assert not any("effort" in each for each in compare_results(first, first, other_machine=False).remarks)
