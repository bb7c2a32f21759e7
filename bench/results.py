"""From raw samples to the rows of the table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import binomtest

from bench.latency import Samples
from bench.stats import Processes, Ratio, Summary, flattened, rate, speed_ratio, summarise
from compress import metrics

BATCH = 32
RESAMPLES = 400
BARS_PER_DECADE = 20
WHOLE = "all together"
TEXTS = "texts"  # where the speed-up is taken on the task's own texts, not on a shape of the grid


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many calls, text to label, took between one edge and the next; milliseconds, the same edges for all rows."""

    edges_ms: list[float]
    counts: list[int]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender's line. Ratios are against the first row of the same device: above 1 is faster than it.

    `score_interval`: 95 %, of the rows' number. `texts`: text to label at batch 1, on the task's own lengths; `within`:
    what of it lies within the narrower boundaries. `tokens`: the model alone, by the grid's shapes. `throughput`: texts
    a second when all are at hand; `cores_used` meanwhile. `cold_start`: seconds of its parts, the median of
    `num_cold_starts`. `error`: why there is nothing more in the row.
    """

    name: str
    kind: str
    device: str
    size_bytes: int
    num_parameters: int | None = None
    score: float | None = None
    score_interval: tuple[float, float] | None = None
    texts: Summary | None = None
    texts_ratio: Ratio | None = None
    within: dict[str, Summary] | None = None
    within_ratio: dict[str, Ratio] | None = None
    tokens: dict[str, Summary] | None = None
    tokens_ratio: dict[str, Ratio] | None = None
    throughput: float | None = None
    cores_used: float | None = None
    histogram: Histogram | None = None
    cold_start: dict[str, float] | None = None
    num_cold_starts: int = 0
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


def speed_up(
    samples: Sequence[Samples], steps: Sequence[tuple[str, str]], *, where: str = TEXTS
) -> list[dict[str, Any]]:
    """The ratio of each step from one contender to the next: they multiply to the whole, which comes last.

    `steps`: what a step is called, and the name of the contender that it leads to; the first is where it starts.
    Those that were not measured are left out. `where`: TEXTS (text to label), or a shape of the grid (the model alone).
    """
    known = _timed(samples, where)
    taken = [(what, known[name]) for what, name in steps if name in known]
    parts = [(what, before, after) for (_, before), (what, after) in pairwise(taken)]
    if len(parts) > 1:
        parts.append((WHOLE, taken[0][1], taken[-1][1]))
    return [{"what": what, "ratio": asdict(speed_ratio(before, after))} for what, before, after in parts]


def against(
    samples: Sequence[Samples], name: str, others: Sequence[str], *, where: str = TEXTS
) -> list[dict[str, Any]]:
    """How many times as fast as the others a contender is; those that were measured. `where`: as in `speed_up`."""
    known = _timed(samples, where)
    if name not in known:
        return []
    return [
        {"what": other, "ratio": asdict(speed_ratio(known[other], known[name]))} for other in others if other in known
    ]


def _histogram(seconds: Processes) -> Histogram:
    logs = np.log10(flattened(seconds) * 1e3) * BARS_PER_DECADE
    edges = np.arange(np.floor(logs.min()), np.floor(logs.max()) + 2)
    counts, _ = np.histogram(logs, edges)
    return Histogram(edges_ms=(10 ** (edges / BARS_PER_DECADE)).tolist(), counts=counts.tolist())


def _timed(samples: Sequence[Samples], where: str) -> dict[str, Processes]:
    """The calls of all contenders that were measured there."""
    found = {
        sample.contender.name: sample.texts_s if where == TEXTS else sample.tokens_s.get(where, [])
        for sample in samples
        if not sample.error
    }
    return {name: calls for name, calls in found.items() if calls}


def lengths_of(samples: Sequence[Samples]) -> dict[str, float] | None:
    """Tokens of the texts, as the first contender that has tokens reads them.

    `padding`: the share of padding in batches of 32 as the texts come, and `padding_sorted` in batches of like length.
    """
    found = next((sample.lengths for sample in samples if sample.lengths), None)
    if found is None:
        return None
    lengths = np.asarray(found)
    p90, longest = np.percentile(lengths, [90, 100])
    return {
        "mean": float(lengths.mean()),
        "p90": float(p90),
        "longest": float(longest),
        "padding": _padding(lengths),
        "padding_sorted": _padding(np.sort(lengths)),
    }


def _padding(lengths: np.ndarray) -> float:
    batches = np.split(lengths, range(BATCH, len(lengths), BATCH))
    return float(1 - lengths.sum() / sum(len(batch) * batch.max() for batch in batches))


def rows(
    samples: Sequence[Samples],
    *,
    sizes: Sequence[int],
    labels: Sequence[float] | None,
    num_classes: int,
    metric: metrics.Metric,
    num_throughput_texts: int,
    num_parameters: Mapping[str, int],
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
            scored=None
            if labels is None or sample.predictions is None
            else _scored(metric, np.asarray(labels), np.asarray(sample.predictions), num_classes),
            num_throughput_texts=num_throughput_texts,
            num_parameters=sample.facts.get("num_parameters") or num_parameters.get(sample.contender.path),
        )
        for sample, size in zip(samples, sizes, strict=True)
    ]


def _scored(
    metric: metrics.Metric, labels: np.ndarray, answers: np.ndarray, num_classes: int
) -> tuple[float, tuple[float, float]]:
    """The metric, and its 95 % interval over the rows: Wilson's of an accuracy, else a bootstrap."""
    score = metrics.score(metric, labels, answers, num_classes=num_classes)
    if metric == "accuracy":
        found = binomtest(int((labels == answers).sum()), len(labels)).proportion_ci(method="wilson")
        return score, (found.low, found.high)
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(labels), size=len(labels)) for _ in range(RESAMPLES)]
    with np.errstate(all="ignore"):
        scores = [metrics.score(metric, labels[rows], answers[rows], num_classes=num_classes) for rows in drawn]
    low, high = np.nanpercentile(scores, [2.5, 97.5])
    return score, (float(low), float(high))


def _row(
    sample: Samples,
    baseline: Samples,
    *,
    size_bytes: int,
    scored: tuple[float, tuple[float, float]] | None,
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
        score=None if scored is None else scored[0],
        score_interval=None if scored is None else scored[1],
        texts=summarise(sample.texts_s),
        texts_ratio=speed_ratio(baseline.texts_s, sample.texts_s) if comparable else None,
        within={boundary: summarise(calls) for boundary, calls in sample.within_s.items()},
        within_ratio={
            boundary: speed_ratio(baseline.within_s[boundary], calls)
            for boundary, calls in sample.within_s.items()
            if comparable and boundary in baseline.within_s
        },
        tokens={shape: summarise(calls) for shape, calls in sample.tokens_s.items()},
        tokens_ratio={
            shape: speed_ratio(baseline.tokens_s[shape], calls)
            for shape, calls in sample.tokens_s.items()
            if comparable and shape in baseline.tokens_s
        },
        throughput=rate(num_throughput_texts, sample.throughput_s),
        histogram=_histogram(sample.texts_s),
        cores_used=float(np.median(np.divide(sample.computed_s, sample.throughput_s))) if sample.computed_s else None,
        cold_start={part: float(np.median([each[part] for each in sample.cold_s])) for part in sample.cold_s[0]}
        if sample.cold_s
        else None,
        num_cold_starts=len(sample.cold_s),
        facts=sample.facts,
    )
