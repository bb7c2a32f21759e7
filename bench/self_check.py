"""Checks the benchmark on this machine: an A/A test, and a slowed copy of the model that it should detect."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from bench.measurement.stats import speed_ratio
from bench.results.measurements import Machine, Protocol, Ratio
from bench.timing.latency import time_systems
from bench.timing.systems import Contender, Workload

SLOWDOWN = 0.10  # relative slowdown of the copy


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """A model compared with itself (A/A test), and with a copy that is slower by `slowdown`, relative to its time.

    `aa_ratios`: ratios of the A/A runs. `num_aa_missed`: number of their 95 % intervals that miss 1; 1 in 20 is
    expected. `median_half_width`: of those intervals. `slowed_ratios`: ratios to the slowed copy. `num_detected`:
    number of their intervals below 1. `machine`: None if it was not recorded.
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
    """Compare a model with itself `runs` times, and with its slowed copy `slowed_runs` times.

    The copy spins for SLOWDOWN of its own time after each text. Raises RuntimeError if the model cannot run.
    """
    aa_ratios: list[Ratio] = []
    slowed_ratios: list[Ratio] = []
    for run in range(runs + slowed_runs):
        is_aa_run = run < runs
        copy = replace(contender, is_aa_control=True, slowed_by=0.0 if is_aa_run else SLOWDOWN)
        ratio = _ratio(contender, copy, workload, replace(protocol, seed=run))
        (aa_ratios if is_aa_run else slowed_ratios).append(ratio)
        on_progress(run + 1, runs + slowed_runs)
    half_widths = [(ratio.high - ratio.low) / 2 for ratio in aa_ratios]
    return SelfCheck(
        name=contender.name,
        protocol=protocol,
        aa_ratios=aa_ratios,
        num_aa_missed=sum(not ratio.low <= 1 <= ratio.high for ratio in aa_ratios),
        median_half_width=median(half_widths) if half_widths else None,
        slowdown=SLOWDOWN,
        slowed_ratios=slowed_ratios,
        num_detected=sum(ratio.high < 1 for ratio in slowed_ratios),
    )


def _ratio(first: Contender, second: Contender, workload: Workload, protocol: Protocol) -> Ratio:
    samples = time_systems(
        [first, second], replace(workload, labels=None, grid=()), replace(protocol, throughput_texts=1)
    )
    for sample in samples:
        if sample.error:
            raise RuntimeError(sample.error)
    return speed_ratio(*(sample.texts_s for sample in samples))
