"""The cost of optimiser steps and forward passes as functions of the number of tokens. Loads no torch."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

BUCKET_BATCHES = 50  # batches whose rows are sorted by length together, as in the batch sampler
MARGIN = 1.25  # a processor is slower after minutes of full load than in its first seconds
ASSUMED_MARGIN = 2.5  # of work whose speed is assumed, not timed
FEW_STEPS = 0.5  # the spread is at least 1 + this share of a step: few steps show little of it
LARGEST_SPREAD = 1.5  # between steps of the same size; more is a program that started during the timing


@dataclass(frozen=True, kw_only=True)
class TimeRange:
    """The expected seconds of some work, and the most that they may become."""

    expected_s: float = 0.0
    maximum_s: float = 0.0

    def __add__(self, other: "TimeRange") -> "TimeRange":
        return TimeRange(expected_s=self.expected_s + other.expected_s, maximum_s=self.maximum_s + other.maximum_s)


def total(ranges: Iterable[TimeRange]) -> TimeRange:
    """The sum of the ranges, with the sum of the maxima as its maximum: all stages share the speed of the machine."""
    return sum(ranges, TimeRange())


def slowed(time_range: TimeRange, slowdown: float) -> TimeRange:
    """The range if other programs slow the work down by this factor, or end right away."""
    return TimeRange(
        expected_s=time_range.expected_s, maximum_s=max(time_range.maximum_s, time_range.expected_s * slowdown * MARGIN)
    )


def of_fixed(seconds: float) -> TimeRange:
    """The range of work whose speed is assumed, not timed."""
    return TimeRange(expected_s=seconds, maximum_s=ASSUMED_MARGIN * seconds)


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The batches of an epoch. `rows`, `lengths`: rows per batch and tokens of its longest row, (batches,)."""

    rows: np.ndarray
    lengths: np.ndarray

    @property
    def tokens(self) -> np.ndarray:
        """Tokens per batch with padding, (batches,)."""
        return self.rows * self.lengths


def bucketed_batches(lengths: np.ndarray, batch_size: int) -> Batches:
    """The batches of an epoch, which hold rows of similar length.

    `lengths`: tokens per row, (rows,). They may be a random sample of a larger table, with the same mean cost.
    """
    order = np.random.default_rng(0).permutation(len(lengths))
    window = batch_size * BUCKET_BATCHES
    by_length = np.concatenate(
        [np.sort(lengths[order[start : start + window]]) for start in range(0, len(order), window)]
    )
    starts = np.arange(0, len(by_length), batch_size)
    return Batches(rows=np.diff(np.append(starts, len(by_length))), lengths=np.maximum.reduceat(by_length, starts))


@dataclass(frozen=True, kw_only=True)
class TimedStep:
    """An optimiser step: its rows, the tokens of its longest row, and its seconds."""

    rows: int
    length: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Seconds of a step: fixed_s + per_token_s * tokens + per_square_s * tokens * length.

    `spread`: the ratio of slow to median steps of the same size. `timed_rows`: rows of the largest timed batch.
    `proportional_s`: the seconds per token if no part of a step were fixed. It is an upper bound for larger batches.
    """

    fixed_s: float
    per_token_s: float
    per_square_s: float = 0.0
    spread: float = 1.0
    timed_rows: int
    proportional_s: float

    def of(self, batches: Batches) -> np.ndarray:
        """The expected seconds of a step on each batch, (batches,)."""
        tokens = batches.tokens
        return self.fixed_s + self.per_token_s * tokens + self.per_square_s * tokens * batches.lengths

    def mean_step(self, lengths: np.ndarray, batch_size: int) -> TimeRange:
        """The mean over the batches of an epoch. `lengths`: tokens per row, (rows,)."""
        batches = bucketed_batches(lengths, batch_size)
        expected = float(self.of(batches).mean())
        maximum = expected * self.spread
        if batch_size > self.timed_rows:
            maximum = max(maximum, self.proportional_s * float(batches.tokens.mean()))
        return TimeRange(expected_s=expected, maximum_s=maximum)

    @classmethod
    def of_steps(cls, steps: Sequence[TimedStep]) -> "StepCost":
        """Fit the cost to timed steps, of which there must be one at least. All coefficients are 0 or more."""
        from scipy.optimize import nnls  # takes 0.2 s

        seconds_of_size: dict[tuple[int, int], list[float]] = defaultdict(list)
        for step in steps:
            seconds_of_size[step.rows, step.length].append(step.seconds)
        sizes = np.array(list(seconds_of_size), dtype=float)
        tokens, lengths = sizes.prod(axis=1), sizes[:, 1]
        medians = np.array([np.median(seconds) for seconds in seconds_of_size.values()])
        terms = [tokens]
        if len(sizes) > 1:
            terms.insert(0, np.ones(len(sizes)))
        if len(sizes) > 2 and lengths.max() > 2 * lengths.min():
            terms.append(tokens * lengths)
        relative = np.stack(terms, axis=1) / np.maximum(medians, 1e-9)[:, None]
        coefficients, _ = nnls(relative, np.ones(len(sizes)))
        fixed, per_token, per_square = [0.0, *coefficients, 0.0] if len(terms) == 1 else [*coefficients, 0.0][:3]
        ratios = [
            second / median
            for seconds, median in zip(seconds_of_size.values(), medians, strict=True)
            for second in seconds
            if median > 0
        ]
        return cls(
            fixed_s=float(fixed),
            per_token_s=float(per_token),
            per_square_s=float(per_square),
            spread=float(np.clip(np.quantile(ratios or [1.0], 0.9), 1 + FEW_STEPS / len(steps), LARGEST_SPREAD)),
            timed_rows=int(sizes[:, 0].max()),
            proportional_s=float((medians / tokens)[tokens.argmax()]),
        )


@dataclass(frozen=True, kw_only=True)
class ForwardCost:
    """Seconds of forward passes without gradients. `single_s`: one row of median length. `per_token_s`: in batches."""

    single_s: float
    per_token_s: float


def of_passes(cost: ForwardCost, num_rows: float, mean_tokens: float) -> TimeRange:
    """The time of forward passes over rows in batches."""
    seconds = num_rows * mean_tokens * cost.per_token_s
    return TimeRange(expected_s=seconds, maximum_s=MARGIN * seconds)
