"""Caveats about scores: few rows, and models that a simpler one matches."""

from collections.abc import Iterator

from bench.advice.run_figures import figures_of
from bench.report import table
from bench.results.benchmark import BenchmarkRow
from bench.results.document import Results

FEW_ROWS = 1000
SMALL_GAIN, SMALL_SHARE = 0.05, 0.3  # over predicting one label: of the score, and of what it lacks to 1


def score_caveats(results: Results) -> Iterator[str]:
    """Sentences on scores that rest on few rows, or that a simpler model reaches too."""
    yield from _about_rows(results)
    yield from _about_splits(results)
    yield from _about_constant_prediction(results)
    yield from _about_baseline(results)


def _about_rows(results: Results) -> Iterator[str]:
    if results.is_smoke:
        yield (
            "This was a smoke run, with only a few rows and steps. It shows that the recipe works. Its scores say "
            "nothing about quality."
        )
    if results.run is not None and results.run.selected_on_test:
        yield (
            "There are too few rows for a test split. The scores are on dev rows, which also selected the "
            "checkpoints, so they are slightly too high. Provide a test split or more rows."
        )
    yield from _about_few_rows(results)


def _about_few_rows(results: Results) -> Iterator[str]:
    """The uncertainty of the scores: half the width of the widest interval for an accuracy, else an interval."""
    num_rows = table.num_scored_rows(results)
    if num_rows is None or num_rows >= FEW_ROWS:
        return
    if results.metric == "accuracy":
        yield (
            f"The scores are on {num_rows} rows, so each is uncertain by about "
            f"{50 / max(1, num_rows) ** 0.5 * 1.96:.0f} percentage points. Smaller differences may be chance."
        )
        return
    bundle = _bundle(results)
    intervals = [row for row in results.stages.bench.rows if row.score is not None and row.score_interval is not None]
    row = bundle if bundle in intervals else next(iter(intervals), None)
    if row is not None and row.score_interval is not None:
        low, high = row.score_interval
        yield (
            f"The scores are on {num_rows} rows, so they are uncertain: {row.score:.3f} of {row.name} has a 95 % "
            f"interval from {low:.3f} to {high:.3f}. Smaller differences may be chance."
        )


def _about_splits(results: Results) -> Iterator[str]:
    gap = None if results.run is None or results.run.smoke else figures_of(results).split_gap
    if gap is not None:
        yield (
            f"The teacher scores {gap.dev:.3f} on dev and {gap.test:.3f} on test, more than chance explains. The two "
            "splits differ, so a checkpoint that is best on dev may not be best on test."
        )


def _about_baseline(results: Results) -> Iterator[str]:
    rows = [row for row in results.stages.bench.rows if row.score is not None]
    baseline = next((row for row in rows if row.role == "baseline"), None)
    if baseline is None:
        return
    teacher, bundle = next((row for row in rows if row.role == "teacher"), None), _bundle(results)
    if teacher is not None and not _is_above(teacher, baseline):
        yield (
            f"{_compared(teacher, baseline, results, 'The teacher')}, so its student is unlikely to be better. Check "
            "the data, and how the teacher was fine-tuned."
        )
    if bundle is not None and not _is_above(bundle, baseline):
        yield f"{_compared(bundle, baseline, results, bundle.name)}. A linear model may be enough for this task."


def _about_constant_prediction(results: Results) -> Iterator[str]:
    """Whether the best model is hardly better than one that gives every row the same label."""
    run = results.run
    best = max((row.score for row in results.stages.bench.rows if row.score is not None), default=None)
    constant = None
    if run is not None:
        constant = run.most_common_label if results.metric == "accuracy" else run.constant_score
    if constant is None or best is None or best >= constant + min(SMALL_GAIN, SMALL_SHARE * (1 - constant)):
        return
    label = "the most common label" if results.metric == "accuracy" else "one label"
    hint = ""
    if results.metric == "accuracy":
        hint = " If one label is far more common than the others, use the metric macro_f1 or matthews."
    yield (
        f"Always predicting {label} would score {constant:.3f}; the best model here scores {best:.3f}. "
        f"The models have learned little of the task. Use more data or a better teacher.{hint}"
    )


def _bundle(results: Results) -> BenchmarkRow | None:
    """The recommended bundle if it was scored, else the student's bundle with the lowest score."""
    exported, bench = results.stages.export, results.stages.bench
    recommended = bench.student_bundle(None if exported is None else exported.recommended)
    if recommended is not None and recommended.score is not None:
        return recommended
    bundles = [row for row in bench.rows if row.engine == "onnxruntime" and row.role in ("student", "model")]
    scored = [(row.score, row.id, row) for row in bundles if row.score is not None]
    return min(scored)[2] if scored else None


def _is_above(row: BenchmarkRow, baseline: BenchmarkRow) -> bool:
    """Whether a score is above the baseline's, and significantly so if that was tested."""
    if row.minus_baseline is not None:
        return row.minus_baseline.low > 0
    return row.score is not None and baseline.score is not None and row.score > baseline.score


def _compared(row: BenchmarkRow, baseline: BenchmarkRow, results: Results, name: str) -> str:
    """A score next to the baseline's: the difference, and whether it is significant."""
    assert row.score is not None and baseline.score is not None
    difference, tested = row.score - baseline.score, row.minus_baseline
    by = f"{abs(difference):.3f} {'above' if difference > 0 else 'below'}" if round(difference, 3) else "the same as"
    significance = ""
    if tested is not None:
        is_significant = tested.low > 0 or tested.high < 0
        significance = (
            f" (95 % interval of the difference {tested.low:+.3f} to {tested.high:+.3f}, "
            f"{'significant' if is_significant else 'not significant'})"
        )
    return (
        f"{name} scores {row.score:.3f} in {results.metric_name}, {by} {baseline.name} with "
        f"{baseline.score:.3f}{significance}"
    )
