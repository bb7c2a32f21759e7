"""Computes the rows of a benchmark from raw samples."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from bench.analysis.scores import SystemScores, score_systems
from bench.measurement.stats import SampleTimes, all_calls, speed_ratio, summarise, throughput
from bench.results.benchmark import TEXTS, AAControl, BenchmarkRow, Comparison, SpeedupStep, TextLengths
from bench.results.measurements import ColdStart, LatencyHistogram
from bench.timing.latency import Samples
from bench.timing.systems import Breakdown, Contender, Workload
from compress.data.metrics import Metric

BATCH = 32
BARS_PER_DECADE = 20


def aa_ratio(samples: Sequence[Samples]) -> AAControl | None:
    """The result of the A/A control; None if it failed, or if there is no control.

    Its `id` is the index of the copied contender among the samples.
    """
    control = next((sample for sample in samples if sample.contender.is_aa_control), None)
    if control is None or control.error or not control.texts_s:
        return None
    copied = replace(control.contender, is_aa_control=False)
    row_id, original = next((index, sample) for index, sample in enumerate(samples) if sample.contender == copied)
    if original.error:
        return None
    ratio = speed_ratio(original.texts_s, control.texts_s)
    return AAControl(id=row_id, ratio=ratio, is_valid=ratio.low <= 1 <= ratio.high)


def speedup_breakdown(samples: Sequence[Samples], breakdown: Breakdown, *, where: str = TEXTS) -> list[SpeedupStep]:
    """The speedup of each step, followed by the total, which is their product.

    A step to a contender without samples is merged into the next step. `where`: TEXTS for text to label, or a shape of
    the grid.
    """
    calls = _calls_by_contender(samples, where)
    path = [(None, breakdown.start), *breakdown.steps]
    measured = [(step, calls[contender]) for step, contender in path if contender in calls]
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
    """The speedup of a contender over each of the others that has samples.

    `where`: as in `speedup_breakdown`. Ids are indices among the samples.
    """
    calls = _calls_by_contender(samples, where)
    if contender not in calls:
        return []
    row_ids = {sample.contender: index for index, sample in enumerate(samples)}
    return [
        Comparison(other=row_ids[other], ratio=speed_ratio(calls[other], calls[contender]))
        for other in others
        if other in calls
    ]


def _calls_by_contender(samples: Sequence[Samples], where: str) -> dict[Contender, SampleTimes]:
    """The calls of all contenders with samples for this input."""
    calls = {
        sample.contender: sample.texts_s if where == TEXTS else sample.shapes_s.get(where, [])
        for sample in samples
        if not sample.error
    }
    return {contender: processes for contender, processes in calls.items() if processes}


def text_lengths(samples: Sequence[Samples]) -> TextLengths | None:
    """Statistics of the text lengths, as tokenised by the first contender that has tokens."""
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
    """Share of padding in batches of BATCH texts, in the given order."""
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
    """The rows of the table, with all figures that derive from the samples. Ids are indices among the samples.

    Speedups are over the first contender on the same device. `sizes`: in bytes.
    """
    baselines = {sample.contender.system.device: sample for sample in reversed(samples)}
    scored = {
        index: np.asarray(sample.predictions)
        for index, sample in enumerate(samples)
        if sample.predictions is not None and sample.texts_s and not sample.error
    }
    roles = {index: samples[index].contender.system.role for index in scored}
    scores = score_systems(scored, roles, workload, metric)
    return [
        _row(
            sample,
            baselines[sample.contender.system.device],
            row_id=index,
            size_bytes=size,
            scores=scores.get(index),
            num_throughput_texts=num_throughput_texts,
        )
        for index, (sample, size) in enumerate(zip(samples, sizes, strict=True))
    ]


def _row(
    sample: Samples,
    baseline: Samples,
    *,
    row_id: int,
    size_bytes: int,
    scores: SystemScores | None,
    num_throughput_texts: int,
) -> BenchmarkRow:
    row = BenchmarkRow(**vars(sample.contender.system), id=row_id, size_bytes=size_bytes, error=sample.error)
    if sample.error or not sample.texts_s:
        return row
    is_comparable = baseline.error is None
    return replace(
        row,
        num_parameters=sample.num_parameters or sample.contender.num_parameters,
        **({} if scores is None else vars(scores)),
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
        texts_per_s=throughput(num_throughput_texts, sample.throughput_s),
        histogram=_histogram(sample.texts_s),
        cores_used=float(np.median(np.divide(sample.computed_s, sample.throughput_s))) if sample.computed_s else None,
        cold_start=_median_cold_start(sample.cold_starts) if sample.cold_starts else None,
        num_cold_starts=len(sample.cold_starts),
        process=sample.process,
        session=sample.session,
    )


def _histogram(seconds: SampleTimes) -> LatencyHistogram:
    """A histogram with logarithmic bins."""
    logs = np.log10(all_calls(seconds) * 1e3) * BARS_PER_DECADE
    edges = np.arange(np.floor(logs.min()), np.floor(logs.max()) + 2)
    counts, _ = np.histogram(logs, edges)
    return LatencyHistogram(edges_ms=(10 ** (edges / BARS_PER_DECADE)).tolist(), counts=counts.tolist())


def _median_cold_start(starts: Sequence[ColdStart]) -> ColdStart:
    """The median of each phase."""
    return ColdStart(
        python_s=float(np.median([start.python_s for start in starts])),
        import_s=float(np.median([start.import_s for start in starts])),
        load_s=float(np.median([start.load_s for start in starts])),
        first_answer_s=float(np.median([start.first_answer_s for start in starts])),
    )
