"""From raw samples to the rows of the table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bench.latency import Samples
from bench.stats import Ratio, Summary, speed_ratio, summarise
from compress import metrics


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender's line. Ratios are against the first row of the same device: above 1 is faster than it.

    `texts`: text to label at batch 1, on the task's own lengths. `tokens`: the model alone, by the grid's shapes.
    `throughput`: texts a second when all are at hand. `error`: why there is nothing more in the row.
    """

    name: str
    kind: str
    device: str
    size_bytes: int
    num_parameters: int | None = None
    score: float | None = None
    texts: Summary | None = None
    texts_ratio: Ratio | None = None
    tokens: dict[str, Summary] | None = None
    tokens_ratio: dict[str, Ratio] | None = None
    throughput: float | None = None
    facts: dict[str, Any] | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def same_twice(samples: Sequence[Samples]) -> dict[str, Any] | None:
    """A model against itself: its name, the ratio, whether the interval holds 1, as it must. None where it failed."""
    again = next((sample for sample in samples if sample.contender.again), None)
    if again is None or again.error or not again.texts_s:
        return None
    names = again.contender
    first = next(
        sample
        for sample in samples
        if (sample.contender.path, sample.contender.device, sample.contender.precision)
        == (names.path, names.device, names.precision)
    )
    if first.error:
        return None
    ratio = speed_ratio(first.texts_s, again.texts_s)
    return {"name": first.contender.name, "ratio": asdict(ratio), "is_valid": ratio.low <= 1 <= ratio.high}


def speed_up(samples: Sequence[Samples], steps: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The ratio of each step from one contender to the next, text to label: they multiply to the whole.

    `steps`: what a step is called, and the name of the contender that it leads to; the first is where it starts.
    Those that were not measured are left out.
    """
    known = {sample.contender.name: sample.texts_s for sample in samples if not sample.error and sample.texts_s}
    taken = [(what, known[name]) for what, name in steps if name in known]
    return [
        {"what": what, "ratio": asdict(speed_ratio(before, after))} for (_, before), (what, after) in pairwise(taken)
    ]


def rows(
    samples: Sequence[Samples],
    *,
    sizes: Sequence[int],
    labels: Sequence[float] | None,
    num_classes: int,
    metric: metrics.Metric,
    num_throughput_texts: int,
    num_parameters: dict[str, int],
) -> list[Row]:
    """The table; the baseline is the first contender of the same device.

    `num_parameters`: by path, for those who cannot count their own.
    """
    baselines = {sample.contender.device: sample for sample in reversed(samples)}
    return [
        _row(
            sample,
            baselines[sample.contender.device],
            size_bytes=size,
            score=None
            if labels is None or sample.predictions is None
            else metrics.score(metric, np.asarray(labels), np.asarray(sample.predictions), num_classes=num_classes),
            num_throughput_texts=num_throughput_texts,
            num_parameters=sample.facts.get("num_parameters") or num_parameters.get(sample.contender.path),
        )
        for sample, size in zip(samples, sizes, strict=True)
    ]


def _row(
    sample: Samples,
    baseline: Samples,
    *,
    size_bytes: int,
    score: float | None,
    num_throughput_texts: int,
    num_parameters: int | None,
) -> Row:
    contender = sample.contender
    if sample.error or not sample.texts_s:
        return Row(
            name=contender.name, kind=contender.kind, device=contender.device, size_bytes=size_bytes, error=sample.error
        )
    comparable = baseline.error is None
    return Row(
        name=contender.name,
        kind=contender.kind,
        device=contender.device,
        size_bytes=size_bytes,
        num_parameters=num_parameters,
        score=score,
        texts=summarise(sample.texts_s),
        texts_ratio=speed_ratio(baseline.texts_s, sample.texts_s) if comparable else None,
        tokens={shape: summarise(calls) for shape, calls in sample.tokens_s.items()},
        tokens_ratio={
            shape: speed_ratio(baseline.tokens_s[shape], calls)
            for shape, calls in sample.tokens_s.items()
            if comparable and shape in baseline.tokens_s
        },
        throughput=num_throughput_texts / float(np.median(sample.throughput_s)),
        facts=sample.facts,
    )
