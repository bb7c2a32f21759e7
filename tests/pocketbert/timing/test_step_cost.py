"""The cost of steps integrates the lengths of all batches."""

import numpy as np
import pytest

from compress.data.batching import LengthBucketedBatchSampler
from pocketbert.timing.step_cost import StepCost, TimedStep, TimeRange, bucketed_batches, slowed, total


def steps(*sizes: tuple[int, int], fixed: float = 0.1, per_token: float = 1e-3, square: float = 0.0) -> list[TimedStep]:
    return [
        TimedStep(rows=rows, length=length, seconds=fixed + per_token * rows * length + square * rows * length**2)
        for rows, length in sizes
    ]


def test_batches_are_those_of_the_sampler():
    lengths = np.random.default_rng(3).integers(3, 90, size=1000)
    batches = bucketed_batches(lengths, 32)
    sampler = LengthBucketedBatchSampler(lengths, batch_size=32, seed=0)
    tokens = [len(batch) * lengths[[sampled.row for sampled in batch]].max() for batch in sampler]
    assert len(batches.rows) == len(tokens)
    assert batches.tokens.sum() == pytest.approx(sum(tokens), rel=0.02)


@pytest.mark.parametrize("square", [0.0, 1e-5])
def test_the_fit_recovers_the_cost_and_integrates_it_over_the_lengths(square):
    cost = StepCost.of_steps(steps((32, 10), (32, 40), (32, 120), square=square))
    lengths = np.array([10] * 320 + [120] * 32)
    expected = (10 * (0.1 + 0.32 + square * 3200) + 0.1 + 3.84 + square * 32 * 120**2) / 11
    assert cost.mean_step(lengths, 32).expected_s == pytest.approx(expected, rel=0.01)


def test_a_rare_long_text_is_in_the_mean_whatever_its_position_in_the_table():
    cost = StepCost.of_steps(steps((32, 10), (32, 120)))
    short, long = np.full(3200, 10), np.append(np.full(3168, 10), np.full(32, 120))
    assert cost.mean_step(long, 32).expected_s > 1.05 * cost.mean_step(short, 32).expected_s


def test_smaller_timed_batches_give_a_larger_maximum():
    full, small = StepCost.of_steps(steps((32, 10), (32, 40))), StepCost.of_steps(steps((4, 10), (4, 40)))
    lengths = np.full(320, 40)
    assert small.mean_step(lengths, 32).expected_s == pytest.approx(full.mean_step(lengths, 32).expected_s)
    assert small.mean_step(lengths, 32).maximum_s > 1.2 * full.mean_step(lengths, 32).maximum_s


def test_few_and_uneven_steps_widen_the_range():
    even = StepCost.of_steps([TimedStep(rows=8, length=8, seconds=1.0)] * 50)
    few = StepCost.of_steps([TimedStep(rows=8, length=8, seconds=1.0)] * 2)
    uneven = StepCost.of_steps([TimedStep(rows=8, length=8, seconds=1.0 + 0.1 * (i % 5)) for i in range(50)])
    assert even.spread == pytest.approx(1.01)
    assert few.spread == pytest.approx(1.25)
    assert 1.1 < uneven.spread < 1.2


def test_ranges_add_up():
    assert total([TimeRange(expected_s=1, maximum_s=2), TimeRange(expected_s=3, maximum_s=5)]) == TimeRange(
        expected_s=4, maximum_s=7
    )
    assert slowed(TimeRange(expected_s=10, maximum_s=12), 3.0) == TimeRange(expected_s=10, maximum_s=37.5)
    assert slowed(TimeRange(expected_s=10, maximum_s=12), 1.0).maximum_s == 12.5
