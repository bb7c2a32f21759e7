"""What more threads are worth: every model with each number of them, in one interleaved run."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import psutil

from bench.contenders import Contender, Workload
from bench.latency import Protocol, Samples, measure
from bench.stats import Ratio, Summary, rate, speed_ratio, summarise


@dataclass(frozen=True, kw_only=True)
class AtCount:
    """One model with one number of threads. `times_fewest`: as fast as itself with the fewest; `times_first`: as the
    first model with as many. `throughput`: texts a second when all are at hand.
    """

    texts: Summary
    times_fewest: Ratio
    times_first: Ratio | None
    throughput: float


@dataclass(kw_only=True)
class Threaded:
    """One model, by the number of threads; `error`: why there is none."""

    name: str
    by_count: dict[str, AtCount] = field(default_factory=dict)
    error: str | None = None


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
) -> list[dict[str, Any]]:
    """Text to label and throughput of each contender with each of `counts` threads, as plain values."""
    samples = measure(
        contenders, replace(workload, labels=None, grid=()), protocol, threads=counts, on_progress=on_progress
    )
    by_count = {count: samples[place * len(contenders) :][: len(contenders)] for place, count in enumerate(counts)}
    return [asdict(_threaded(contender.name, place, by_count, protocol)) for place, contender in enumerate(contenders)]


def _threaded(name: str, place: int, by_count: dict[int, list[Samples]], protocol: Protocol) -> Threaded:
    """The contender at `place` among those of each count."""
    mine = {count: samples[place] for count, samples in by_count.items()}
    for count, sample in mine.items():
        if sample.error:
            return Threaded(name=name, error=sample.error)
        if sample.facts["num_threads"] != count:
            return Threaded(name=name, error=f"ran with {sample.facts['num_threads']} threads where {count} were given")
    fewest = mine[min(mine)]
    return Threaded(
        name=name,
        by_count={
            str(count): AtCount(
                texts=summarise(sample.texts_s),
                times_fewest=speed_ratio(fewest.texts_s, sample.texts_s),
                times_first=None
                if by_count[count][0].error
                else speed_ratio(by_count[count][0].texts_s, sample.texts_s),
                throughput=rate(protocol.throughput_texts, sample.throughput_s),
            )
            for count, sample in mine.items()
        },
    )
