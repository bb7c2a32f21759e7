"""Whether the benchmark can be trusted on this machine: a model against itself, and against a slower copy of itself."""

from collections.abc import Callable
from dataclasses import asdict, replace
from statistics import median
from typing import Any

from bench.contenders import Contender, Workload
from bench.latency import Protocol, measure
from bench.stats import Ratio, speed_ratio

PLANTED = 0.10  # how much slower the copy is


def check(
    contender: Contender,
    workload: Workload,
    protocol: Protocol,
    *,
    runs: int,
    planted_runs: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a model against itself `runs` times, and against a copy that spins for a tenth of its own time longer.

    Of the first, the 95 % intervals should hold 1 (19 in 20), and be narrow; of the second, they should leave it out.
    Raises RuntimeError where the model can't be run.
    """
    alike: list[Ratio] = []
    slower: list[Ratio] = []
    for run in range(runs + planted_runs):
        copy = replace(contender, name="the same", slowed_by=0.0 if run < runs else PLANTED)
        ratio = _ratio(contender, copy, workload, replace(protocol, seed=run))
        (alike if run < runs else slower).append(ratio)
        on_progress(run + 1, runs + planted_runs)
    half_widths = [(ratio.high - ratio.low) / 2 for ratio in alike]
    return {
        "name": contender.name,
        "protocol": asdict(protocol),
        "same": [asdict(ratio) for ratio in alike],
        "missed_1": sum(not ratio.low <= 1 <= ratio.high for ratio in alike),
        "median_half_width": median(half_widths) if half_widths else None,
        "planted_slowdown": PLANTED,
        "slower": [asdict(ratio) for ratio in slower],
        "found": sum(ratio.high < 1 for ratio in slower),
    }


def _ratio(first: Contender, second: Contender, workload: Workload, protocol: Protocol) -> Ratio:
    samples = measure([first, second], replace(workload, labels=None, grid=()), replace(protocol, throughput_texts=1))
    for sample in samples:
        if sample.error:
            raise RuntimeError(sample.error)
    return speed_ratio(*(sample.texts_s for sample in samples))
