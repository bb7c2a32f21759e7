"""What to try next, derived from the results of a run. A pure function, which loads no model."""

from collections.abc import Iterator

from bench.advice.advice import Advice
from bench.advice.delivery import on_quantisation, on_size, on_splits, on_texts
from bench.advice.run_figures import RunFigures, figures_of
from bench.advice.student import on_student
from bench.advice.teacher import on_teacher
from bench.results.document import Results

MOST_ADVICE = 5


def advice_on(results: Results) -> list[Advice]:
    """What to try next, most important first, at most five; empty if nothing stands out, and for a smoke run.

    A key appears once: the first advice on it wins.
    """
    if results.run is None or results.run.smoke:
        return []
    chosen, keys = list[Advice](), set[str]()
    for advice in _candidates(figures_of(results)):
        own_keys = {change.partition("=")[0] for change in advice.changes}
        if not own_keys & keys:
            chosen.append(advice)
            keys |= own_keys
    return chosen[:MOST_ADVICE]


def _candidates(figures: RunFigures) -> Iterator[Advice]:
    for advice_about in (on_teacher, on_student, on_quantisation, on_texts, on_splits, on_size):
        yield from advice_about(figures)
