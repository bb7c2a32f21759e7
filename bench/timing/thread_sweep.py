"""What more threads are worth: every model with each number of them, in one interleaved run."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import psutil

from bench.measurement.stats import rate, speed_ratio, summarise
from bench.results.measurements import Protocol, ThreadPoint, ThreadSweep
from bench.timing.latency import Samples, time_systems
from bench.timing.systems import Contender, Workload


def counts_up_to(most: int) -> list[int]:
    """1, 2, one for each physical core, and `most`: those that are not more than it."""
    physical = psutil.cpu_count(logical=False) or most
    return sorted({count for count in (1, 2, physical, most) if count <= most})


def measure_threads(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    counts: Sequence[int],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ThreadSweep]:
    """Text to label and throughput of each contender with each of `counts` threads."""
    samples = time_systems(
        contenders, replace(workload, labels=None, grid=()), protocol, threads=counts, on_progress=on_progress
    )
    by_count = {count: samples[place * len(contenders) :][: len(contenders)] for place, count in enumerate(counts)}
    return [_sweep(place, by_count, protocol) for place in range(len(contenders))]


def _sweep(place: int, by_count: dict[int, list[Samples]], protocol: Protocol) -> ThreadSweep:
    """The contender at `place` among those of each count."""
    own = {count: samples[place] for count, samples in by_count.items()}
    for count, sample in own.items():
        if sample.error:
            return ThreadSweep(error=sample.error)
        assert sample.process is not None, "it ran without an error"
        if sample.process.num_threads != count:
            return ThreadSweep(error=f"ran with {sample.process.num_threads} threads where {count} were given")
    fewest = own[min(own)]
    return ThreadSweep(
        by_count={
            str(count): ThreadPoint(
                latency=summarise(sample.texts_s),
                speedup_over_fewest=speed_ratio(fewest.texts_s, sample.texts_s),
                speedup_over_first=None
                if by_count[count][0].error
                else speed_ratio(by_count[count][0].texts_s, sample.texts_s),
                texts_per_s=rate(protocol.throughput_texts, sample.throughput_s),
            )
            for count, sample in own.items()
        },
    )
