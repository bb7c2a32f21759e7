"""Times real optimiser steps and forward passes on this machine, within a limit of seconds. Loads torch."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import PreTrainedModel, TrainerCallback

from compress.data.batching import LengthBucketedBatchSampler
from compress.data.tokenization import TokenDataset
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models.inference import predict_logits
from compress.models.precision import Precision, low_precision_copy
from pocketbert.timing.step_cost import ForwardCost, StepCost, TimedStep, bucketed_batches

Clock = Callable[[], float]
Train = Callable[[TokenDataset, Schedule, TrainContext, TrainerCallback], object]

QUANTILES = (0.2, 0.6, 1.0)  # of the batches by length that are timed
LARGEST_PASSES = 5
LEAST_STEPS = 3
SINGLES = 3  # timed forward passes of one row
LEAST_TOKENS = 256  # of several rows, timed even if the limit is over
PARALLEL_POWER = 0.8  # n threads are n ** 0.8 times as fast as one
ENDLESS = 1000  # epochs; the clock ends the training
NEVER = 10**9  # steps between checkpoints
STEP_IN_PASSES = 2  # time of a step in forward passes, to plan the timing; it may compute in 16 bits


class Stopwatch:
    """Measures seconds, also on a machine that is busy with other programs.

    `num_threads`: of the run. `is_busy`: everything runs in one thread, inside the context `undisturbed`. The seconds
    are then derived from the CPU time, as they would be with all threads on a quiet machine. Several threads would wait
    for one another, and longer than they compute. `slowdown`: the real seconds as a multiple of these, over all laps.
    """

    def __init__(
        self,
        *,
        is_busy: bool = False,
        num_threads: int = 1,
        clock: Clock = time.perf_counter,
        cpu: Clock = process_time,
    ) -> None:
        self.is_busy, self.num_threads, self.clock, self.cpu = is_busy, num_threads, clock, cpu
        self.speedup = num_threads**PARALLEL_POWER
        self.real_s = self.quiet_s = 0.0
        self.slowdown_of_threads = 1.0
        self.begin()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Inside this context, torch uses one thread if the machine is busy."""
        if self.is_busy:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if self.is_busy:
                torch.set_num_threads(self.num_threads)

    def begin(self) -> None:
        """Begin a lap."""
        self.lap_began, self.lap_began_cpu = self.clock(), self.cpu()

    def lap(self) -> float:
        """The seconds of this lap. Begins the next one."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        real_s, cpu_s = self.clock() - self.lap_began, self.cpu() - self.lap_began_cpu
        quiet_s = min(real_s, cpu_s / self.speedup) if self.is_busy else real_s
        self.real_s, self.quiet_s = self.real_s + real_s, self.quiet_s + quiet_s
        self.begin()
        return quiet_s

    def disturbed(self, call: Callable[[], object], quiet_s: float) -> None:
        """Measure the slowdown with all threads, if the machine is busy. `quiet_s`: of the call on a quiet machine."""
        if not self.is_busy or self.num_threads == 1:
            return
        torch.set_num_threads(self.num_threads)
        started = self.clock()
        call()
        self.slowdown_of_threads = (self.clock() - started) / max(quiet_s, 1e-9)
        torch.set_num_threads(1)

    @property
    def slowdown(self) -> float:
        """By how much the other programs slow this one down."""
        return max(self.slowdown_of_threads, self.real_s / self.quiet_s if self.quiet_s > 0 else 1.0)


class StepClock(TrainerCallback):
    """Records the seconds of each optimiser step, with its data loading, and ends the training at the deadline.

    `most`: steps after which to end. A few steps are taken even after the deadline.
    """

    def __init__(self, stopwatch: Stopwatch, deadline: float, *, most: int) -> None:
        self.stopwatch, self.deadline, self.most = stopwatch, deadline, most
        self.seconds: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the stopwatch with the first step."""
        if not self.seconds:
            self.stopwatch.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Record the step."""
        self.seconds.append(self.stopwatch.lap())
        is_late = len(self.seconds) >= LEAST_STEPS and self.stopwatch.clock() >= self.deadline
        if is_late or len(self.seconds) >= self.most:
            control.should_training_stop = True


def time_steps(
    train: Train,
    data: TokenDataset,
    *,
    batch_size: int,
    micro_batch_size: int | None = None,
    forward_s: float,
    limit_s: float,
    deadline: float,
    stopwatch: Stopwatch,
) -> StepCost:
    """Time a few steps on short, medium and long batches of `data`. The first pass over them warms up.

    `train`: trains on rows with the callback, without evaluation. `forward_s`: roughly the seconds per token of the
    forward passes of a step. If full batches would take longer than `limit_s` on a quiet machine, smaller ones are
    timed. `deadline`: on the stopwatch's clock; after it, the training ends as soon as three steps
    are timed.
    """
    plan = bucketed_batches(data.lengths, batch_size)
    mean_tokens = float(plan.tokens.mean())
    full_s = STEP_IN_PASSES * forward_s * mean_tokens * LEAST_STEPS
    num_rows = min(batch_size, max(1, int(batch_size * min(1.0, limit_s / max(full_s, 1e-9)))))
    sample = data.take(_timed_rows(data.lengths, num_rows, with_half=num_rows < batch_size))
    sampler = LengthBucketedBatchSampler(sample.lengths, batch_size=num_rows, seed=0, micro_batch_size=micro_batch_size)
    num_batches = len(sampler) // sampler.micro_batches
    step_clock = StepClock(stopwatch, deadline, most=LARGEST_PASSES * num_batches)
    schedule = Schedule(
        epochs=ENDLESS,
        batch_size=num_rows,
        micro_batch_size=micro_batch_size,
        learning_rate=1e-6,
        checkpoint_steps=NEVER,
    )
    with TemporaryDirectory() as folder:
        context = TrainContext(title="timing", seed=0, checkpoints=Path(folder), console=Console(quiet=True))
        train(sample, schedule, context, step_clock)
    return _fit(sample.lengths, sampler, step_clock.seconds, num_batches)


def _timed_rows(lengths: np.ndarray, num_rows: int, *, with_half: bool) -> np.ndarray:
    """The numbers of the rows of some batches: short, medium and long ones, and half a batch for the fixed cost."""
    order = np.argsort(lengths, kind="stable")
    sizes = [(quantile, num_rows) for quantile in QUANTILES] + ([(0.6, max(1, num_rows // 2))] if with_half else [])
    rows = []
    for quantile, size in sizes:
        end = max(min(size, len(order)), round(quantile * len(order)))
        rows.append(order[end - min(size, len(order)) : end])
    return np.concatenate(rows)


def _fit(lengths: np.ndarray, sampler: LengthBucketedBatchSampler, seconds: list[float], num_batches: int) -> StepCost:
    """The cost of the steps, without those that warmed up."""
    num_warm_up = min(num_batches, max(1, len(seconds) // 2))
    steps = []
    for number, step_s in enumerate(seconds):
        epoch, index = divmod(number, num_batches)
        if number < num_warm_up:
            continue
        sampler.set_epoch(epoch)
        parts = list(sampler)[index * sampler.micro_batches : (index + 1) * sampler.micro_batches]
        rows = [sampled.row for part in parts for sampled in part if sampled.weight]
        steps.append(TimedStep(rows=len(rows), length=int(lengths[rows].max()), seconds=step_s))
    return StepCost.of_steps(steps)


def time_forward(
    model: PreTrainedModel,
    data: TokenDataset,
    *,
    precision: Precision = "fp32",
    limit_s: float,
    stopwatch: Stopwatch,
) -> ForwardCost:
    """Time forward passes over single rows, then over more rows, for about `limit_s` if the machine is quiet.

    `precision`: of passes over several rows. Those of up to `LEAST_TOKENS` tokens are timed in any case, because a
    token of a single row takes many times as long.
    """
    end_s = stopwatch.quiet_s + limit_s
    by_length = np.argsort(data.lengths, kind="stable")
    median_row = data.take(by_length[len(by_length) // 2 :][:1])

    def seconds_of(rows: TokenDataset, model: PreTrainedModel = model, precision: Precision = "fp32") -> float:
        stopwatch.begin()
        predict_logits(model, rows, precision=precision)
        return stopwatch.lap()

    seconds_of(median_row)  # the first pass reads the weights from disk
    singles = [seconds_of(median_row)]
    while len(singles) < SINGLES and stopwatch.quiet_s < end_s - 0.75 * limit_s:
        singles.append(seconds_of(median_row))
    single_s = float(np.median(singles))
    order = np.random.default_rng(0).permutation(len(data.lengths))
    in_batches = low_precision_copy(model, precision)
    num_rows, per_token_s = 1, single_s / int(median_row.lengths[0])
    while num_rows < len(order):
        num_rows = min(4 * num_rows, len(order))
        rows = data.take(order[:num_rows])
        num_tokens = int(rows.lengths.sum())
        if num_tokens > LEAST_TOKENS and stopwatch.quiet_s + per_token_s * num_tokens > end_s:
            break
        per_token_s = seconds_of(rows, in_batches, precision) / num_tokens
    return ForwardCost(single_s=single_s, per_token_s=per_token_s)
