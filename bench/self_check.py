"""Whether the benchmark can be trusted on this machine: an A/A test of a model, and a slower copy of it to detect."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from bench.measurement.stats import speed_ratio
from bench.results.measurements import Machine, Protocol, Ratio
from bench.timing.latency import time_systems
from bench.timing.systems import Contender, Workload

SLOWDOWN = 0.10  # of the copy that should be detected


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """A model timed against itself, and against a copy that takes `slowdown` of its own time longer.

    `aa_ratios`: of runs against itself; `num_aa_missed`: how many of their 95 % intervals miss 1 (expected: 1 in 20);
    `median_half_width`: of those intervals. `slowed_ratios`: of runs against the copy; `num_detected`: how many of
    their intervals lie below 1. `machine`: None where it was not recorded.
    """

    name: str
    protocol: Protocol
    aa_ratios: list[Ratio]
    num_aa_missed: int
    median_half_width: float | None
    slowdown: float
    slowed_ratios: list[Ratio]
    num_detected: int
    machine: Machine | None = None


def run_self_check(
    contender: Contender,
    workload: Workload,
    protocol: Protocol,
    *,
    runs: int,
    slowed_runs: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SelfCheck:
    """Measure a model against itself `runs` times, and `slowed_runs` times against a copy that spins for a tenth of its
    own time longer.

    Raises RuntimeError where the model can't be run.
    """
    alike: list[Ratio] = []
    slowed: list[Ratio] = []
    for run in range(runs + slowed_runs):
        copy = replace(contender, is_aa_control=True, slowed_by=0.0 if run < runs else SLOWDOWN)
        ratio = _ratio(contender, copy, workload, replace(protocol, seed=run))
        (alike if run < runs else slowed).append(ratio)
        on_progress(run + 1, runs + slowed_runs)
    half_widths = [(ratio.high - ratio.low) / 2 for ratio in alike]
    return SelfCheck(
        name=contender.name,
        protocol=protocol,
        aa_ratios=alike,
        num_aa_missed=sum(not ratio.low <= 1 <= ratio.high for ratio in alike),
        median_half_width=median(half_widths) if half_widths else None,
        slowdown=SLOWDOWN,
        slowed_ratios=slowed,
        num_detected=sum(ratio.high < 1 for ratio in slowed),
    )


def _ratio(first: Contender, second: Contender, workload: Workload, protocol: Protocol) -> Ratio:
    samples = time_systems(
        [first, second], replace(workload, labels=None, grid=()), replace(protocol, throughput_texts=1)
    )
    for sample in samples:
        if sample.error:
            raise RuntimeError(sample.error)
    return speed_ratio(*(sample.texts_s for sample in samples))
