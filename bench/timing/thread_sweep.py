"""Measures the speedup from more threads: every model with every number of threads, in one interleaved run."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import psutil

from bench.measurement.stats import speed_ratio, summarise, throughput
from bench.results.measurements import Protocol, ThreadPoint, ThreadSweep
from bench.timing.latency import Samples, time_systems
from bench.timing.systems import Contender, Workload


def thread_counts_up_to(maximum: int) -> list[int]:
    """The numbers 1, 2, physical cores and `maximum`, without those above `maximum`."""
    physical_cores = psutil.cpu_count(logical=False) or maximum
    return sorted({count for count in (1, 2, physical_cores, maximum) if count <= maximum})


def measure_threads(
    contenders: Sequence[Contender],
    workload: Workload,
    protocol: Protocol,
    counts: Sequence[int],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ThreadSweep]:
    """Latency from text to label and throughput of each contender, with each number of threads in `counts`."""
    samples = time_systems(
        contenders, replace(workload, labels=None, grid=()), protocol, threads=counts, on_progress=on_progress
    )
    by_count = {count: samples[number * len(contenders) :][: len(contenders)] for number, count in enumerate(counts)}
    return [_sweep(index, by_count, protocol) for index in range(len(contenders))]


def _sweep(index: int, by_count: dict[int, list[Samples]], protocol: Protocol) -> ThreadSweep:
    """The sweep of the contender at `index`."""
    own = {count: samples[index] for count, samples in by_count.items()}
    for count, sample in own.items():
        if sample.error:
            return ThreadSweep(error=sample.error)
        assert sample.process is not None, "samples without an error have a process"
        if sample.process.num_threads != count:
            return ThreadSweep(error=f"ran with {sample.process.num_threads} threads instead of {count}")
    fewest = own[min(own)]
    return ThreadSweep(
        by_count={
            str(count): ThreadPoint(
                latency=summarise(sample.texts_s),
                speedup_over_fewest=speed_ratio(fewest.texts_s, sample.texts_s),
                speedup_over_first=None
                if by_count[count][0].error
                else speed_ratio(by_count[count][0].texts_s, sample.texts_s),
                texts_per_s=throughput(protocol.throughput_texts, sample.throughput_s),
            )
            for count, sample in own.items()
        },
    )
