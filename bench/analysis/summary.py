"""From raw samples to the rows of the table."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.stats import binomtest

from bench.measurement.stats import Processes, flattened, rate, speed_ratio, summarise
from bench.results.benchmark import TEXTS, AAControl, BenchmarkRow, Comparison, SpeedupStep, TextLengths
from bench.results.measurements import ColdStart, LatencyHistogram
from bench.timing.latency import Samples
from bench.timing.systems import Breakdown, Contender, Workload
from compress.data.metrics import Metric
from compress.data.task_types import task_type

BATCH = 32
RESAMPLES = 400
BARS_PER_DECADE = 20


def aa_ratio(samples: Sequence[Samples]) -> AAControl | None:
    """The A/A control: how fast a model is compared with itself. None where it failed, or there is none.

    The `id` is the place among the samples.
    """
    control = next((sample for sample in samples if sample.contender.is_aa_control), None)
    if control is None or control.error or not control.texts_s:
        return None
    copied = replace(control.contender, is_aa_control=False)
    row_id, first = next((place, sample) for place, sample in enumerate(samples) if sample.contender == copied)
    if first.error:
        return None
    ratio = speed_ratio(first.texts_s, control.texts_s)
    return AAControl(id=row_id, ratio=ratio, is_valid=ratio.low <= 1 <= ratio.high)


def speedup_breakdown(samples: Sequence[Samples], breakdown: Breakdown, *, where: str = TEXTS) -> list[SpeedupStep]:
    """The ratio of each step from one contender to the next: they multiply to the total, which comes last.

    A step to a contender that was not measured is left out; the next one then has both changes in it. `where`: TEXTS
    (text to label), or a shape of the grid (the model alone).
    """
    known = _calls_by_contender(samples, where)
    way = [(None, breakdown.start), *breakdown.steps]
    measured = [(step, known[contender]) for step, contender in way if contender in known]
    steps = [
        SpeedupStep(step=step, ratio=speed_ratio(before, after))
        for (_, before), (step, after) in pairwise(measured)
        if step is not None
    ]
    if len(steps) > 1:
        steps.append(SpeedupStep(step="total", ratio=speed_ratio(measured[0][1], measured[-1][1])))
    return steps


def speedup_over(
    samples: Sequence[Samples], contender: Contender, others: Sequence[Contender], *, where: str = TEXTS
) -> list[Comparison]:
    """How many times as fast as the others a contender is; those that were measured. `where`: as above.

    Their ids are their places among the samples.
    """
    known = _calls_by_contender(samples, where)
    if contender not in known:
        return []
    places = {sample.contender: place for place, sample in enumerate(samples)}
    return [
        Comparison(other=places[other], ratio=speed_ratio(known[other], known[contender]))
        for other in others
        if other in known
    ]


def _calls_by_contender(samples: Sequence[Samples], where: str) -> dict[Contender, Processes]:
    """The calls of all contenders that were measured there."""
    calls = {
        sample.contender: sample.texts_s if where == TEXTS else sample.shapes_s.get(where, [])
        for sample in samples
        if not sample.error
    }
    return {contender: processes for contender, processes in calls.items() if processes}


def text_lengths(samples: Sequence[Samples]) -> TextLengths | None:
    """Tokens of the texts, as the first contender that has tokens reads them."""
    tokens = next((sample.lengths for sample in samples if sample.lengths), None)
    if tokens is None:
        return None
    lengths = np.asarray(tokens)
    p90, longest = np.percentile(lengths, [90, 100])
    return TextLengths(
        mean=float(lengths.mean()),
        p90=float(p90),
        longest=float(longest),
        padding=_padding(lengths),
        padding_sorted=_padding(np.sort(lengths)),
    )


def _padding(lengths: np.ndarray) -> float:
    """The share of padding in batches of BATCH texts, in this order."""
    batches = np.split(lengths, range(BATCH, len(lengths), BATCH))
    return float(1 - lengths.sum() / sum(len(batch) * batch.max() for batch in batches))


def benchmark_rows(
    samples: Sequence[Samples],
    *,
    sizes: Sequence[int],
    workload: Workload,
    metric: Metric,
    num_throughput_texts: int,
) -> list[BenchmarkRow]:
    """The table, without what is measured apart from the samples. The ids of its rows are the places of the samples.

    The baseline is the first contender of the same device. `sizes`: in bytes.
    """
    baselines = {sample.contender.system.device: sample for sample in reversed(samples)}
    return [
        _row(
            sample,
            baselines[sample.contender.system.device],
            row_id=place,
            size_bytes=size,
            scored=None
            if workload.labels is None or sample.predictions is None
            else _scored(workload, metric, np.asarray(workload.labels), np.asarray(sample.predictions)),
            num_throughput_texts=num_throughput_texts,
        )
        for place, (sample, size) in enumerate(zip(samples, sizes, strict=True))
    ]


def _scored(
    workload: Workload, metric: Metric, labels: np.ndarray, answers: np.ndarray
) -> tuple[float, tuple[float, float]]:
    """The metric, and its 95 % interval over the rows: Wilson's of an accuracy, else a bootstrap."""
    kind = task_type(workload.task_type)
    score = kind.score(metric, labels, answers, workload.num_labels)
    if metric == "accuracy":
        interval = binomtest(int((labels == answers).sum()), len(labels)).proportion_ci(method="wilson")
        return score, (interval.low, interval.high)
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(labels), size=len(labels)) for _ in range(RESAMPLES)]
    with np.errstate(all="ignore"):
        scores = [kind.score(metric, labels[rows], answers[rows], workload.num_labels) for rows in drawn]
    low, high = np.nanpercentile(scores, [2.5, 97.5])
    return score, (float(low), float(high))


def _row(
    sample: Samples,
    baseline: Samples,
    *,
    row_id: int,
    size_bytes: int,
    scored: tuple[float, tuple[float, float]] | None,
    num_throughput_texts: int,
) -> BenchmarkRow:
    row = BenchmarkRow(**vars(sample.contender.system), id=row_id, size_bytes=size_bytes, error=sample.error)
    if sample.error or not sample.texts_s:
        return row
    is_comparable = baseline.error is None
    return replace(
        row,
        num_parameters=sample.num_parameters or sample.contender.num_parameters,
        score=None if scored is None else scored[0],
        score_interval=None if scored is None else scored[1],
        latency=summarise(sample.texts_s),
        speedup=speed_ratio(baseline.texts_s, sample.texts_s) if is_comparable else None,
        latency_by_boundary={boundary: summarise(calls) for boundary, calls in sample.boundaries_s.items()},
        speedup_by_boundary={
            boundary: speed_ratio(baseline.boundaries_s[boundary], calls)
            for boundary, calls in sample.boundaries_s.items()
            if is_comparable and boundary in baseline.boundaries_s
        },
        latency_by_shape={shape: summarise(calls) for shape, calls in sample.shapes_s.items()},
        speedup_by_shape={
            shape: speed_ratio(baseline.shapes_s[shape], calls)
            for shape, calls in sample.shapes_s.items()
            if is_comparable and shape in baseline.shapes_s
        },
        texts_per_s=rate(num_throughput_texts, sample.throughput_s),
        histogram=_histogram(sample.texts_s),
        cores_used=float(np.median(np.divide(sample.computed_s, sample.throughput_s))) if sample.computed_s else None,
        cold_start=_median_cold_start(sample.cold_starts) if sample.cold_starts else None,
        num_cold_starts=len(sample.cold_starts),
        process=sample.process,
        session=sample.session,
    )


def _histogram(seconds: Processes) -> LatencyHistogram:
    logs = np.log10(flattened(seconds) * 1e3) * BARS_PER_DECADE
    edges = np.arange(np.floor(logs.min()), np.floor(logs.max()) + 2)
    counts, _ = np.histogram(logs, edges)
    return LatencyHistogram(edges_ms=(10 ** (edges / BARS_PER_DECADE)).tolist(), counts=counts.tolist())


def _median_cold_start(starts: Sequence[ColdStart]) -> ColdStart:
    """Part by part."""
    return ColdStart(
        python_s=float(np.median([start.python_s for start in starts])),
        import_s=float(np.median([start.import_s for start in starts])),
        load_s=float(np.median([start.load_s for start in starts])),
        first_answer_s=float(np.median([start.first_answer_s for start in starts])),
    )
