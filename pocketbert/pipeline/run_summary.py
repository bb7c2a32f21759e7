"""The text at the end of a run: the recommended bundle, the verdicts, the caveats and what to try next."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

from bench.advice.rules import advice_on
from bench.advice.run_figures import RunFigures, figures_of
from bench.report.caveats import caveats_of
from bench.report.effort import certainty
from bench.report.page import predict_command
from bench.report.table import megabytes
from bench.results.benchmark import BenchmarkRow
from bench.results.document import Results
from compress.common.escaping import one_line


def summary_lines(results: Results, folder: Path, *, width: int | None = None) -> list[str]:
    """The lines, without control characters. `width`: at which sentences are wrapped; commands never are.

    `folder`: of the run, as the user wrote it. `width`: None for one line per sentence.
    """
    if results.run is None:
        return []
    lines = list[str]()
    for title, paragraphs in (
        ("Result", _result(figures_of(results), folder)),
        ("Gate", _verdicts(results)),
        ("Caveats", [(f"- {sentence}", True) for sentence in caveats_of(results)]),
        ("What to try next", _advice(results)),
    ):
        if paragraphs:
            lines += ["", f"{title}:"]
            for text, is_prose in paragraphs:
                lines += _wrapped(one_line(text), width) if is_prose else [f"  {one_line(text)}"]
    return lines


Paragraphs = list[tuple[str, bool]]  # texts, and whether each is prose that may be wrapped


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None:
        return [f"  {text}"]
    hanging = "    " if text[:2] == "- " else "  "
    return textwrap.wrap(
        text, width, initial_indent="  ", subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


def _result(figures: RunFigures, folder: Path) -> Paragraphs:
    """The recommended bundle with its retention, and the command to use it."""
    best = figures.bundle_row
    if best is None or best.variant is None:
        return [("No bundle is recommended.", True)]
    command = predict_command(f"{folder}/bundles/{best.variant}", takes_pairs=figures.run.takes_pairs)
    use = [("Try it:", True), (command, False)]
    if figures.results.is_smoke:
        return [("Every stage works. A smoke run recommends no bundle.", True), *use]
    speed = ""
    if best.speedup is not None:
        speed = f", {best.speedup.value:.1f} times as fast as the teacher{certainty(best)}"
    paragraphs = [(f"Recommended: {best.variant}, {megabytes(best.size_bytes)}{speed}.", True)]
    if best.score is not None:
        paragraphs.append((" ".join(_score(figures, best)), True))
    return [*paragraphs, *use]


def _score(figures: RunFigures, best: BenchmarkRow) -> Iterator[str]:
    teacher, baseline, kept = figures.teacher_row, figures.baseline_row, best.retention
    metric = f"{figures.results.metric_name} on the {figures.num_scored_rows:,} {figures.split} rows"
    others = [f"{name} {row.score:.3f}" for name, row in (("teacher", teacher), ("baseline", baseline)) if row]
    yield f"It scores {best.score:.3f} in {metric}" + (f" ({', '.join(others)})." if others else ".")
    if kept is not None:
        yield (f"That is {kept.value:.1%} of the teacher's score (95 % interval {kept.low:.1%} to {kept.high:.1%}).")


def _verdicts(results: Results) -> Paragraphs:
    """The gate's verdict on each variant, with the reasons of a failure."""
    exported = results.stages.export
    if exported is None:
        return []
    verdicts = {
        name: f"failed: {'; '.join(variant.failures)}"
        if variant.failures
        else "passed, recommended"
        if name == exported.recommended and not results.is_smoke
        else "passed"
        if variant.not_recommended is None
        else f"passed, not recommended: {variant.not_recommended}"
        for name, variant in exported.variants.items()
    }
    return [(f"- {name}: {verdict}", True) for name, verdict in verdicts.items()]


def _advice(results: Results) -> Paragraphs:
    return [
        paragraph
        for advice in advice_on(results)
        for paragraph in ((f"- {advice.sentence}", True), (f"  {advice.options}", False))
    ]
