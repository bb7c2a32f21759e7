"""The levels of effort: what each measures, and the estimate of its time."""

from dataclasses import replace
from typing import get_args

import pytest

from bench.results.measurements import Effort, LoadTest, Protocol
from bench.timing.duration import LineupCost, benchmark_seconds
from bench.timing.effort import settings_of
from bench.timing.systems import GRID

EFFORTS = get_args(Effort)
COST = LineupCost(
    teacher_ms=8.0, student_ms=2.5, mean_tokens=27.0, num_teacher_bundles=2, num_student_bundles=4, num_rows=1000
)


@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort_can_have_an_interval_over_processes_and_a_95th_percentile(effort):
    settings = settings_of(effort)
    assert len(range(0, settings.rounds, settings.restart_every)) >= 3
    assert settings.rounds * settings.texts_per_round >= 59
    assert settings.protocol(effort, num_threads=1).effort == effort


def test_thorough_is_what_a_benchmark_without_effort_measures():
    settings = settings_of("thorough")
    assert settings.protocol(None, num_threads=2, seed=3) == Protocol(num_threads=2, seed=3)
    assert tuple(settings.grid(512)) == GRID


def test_the_grid_stops_at_the_longest_text_of_the_model():
    assert settings_of("thorough").grid(64) == [(1, 16), (1, 32), (1, 64), (16, 32)]
    assert settings_of("standard").grid(20) == [(1, 16), (16, 16)]
    assert settings_of("quick").grid(512) == []
    assert replace(settings_of("quick"), fixed_batches=[8]).grid(16) == [(8, 16)]


def seconds(cost: LineupCost, effort: Effort) -> float:
    settings = settings_of(effort)
    cost = replace(cost, compiled_teacher=settings.compiled_teacher, roofline=settings.roofline)
    return benchmark_seconds(cost, settings.protocol(effort, num_threads=2), settings.grid(64))


def test_a_higher_effort_takes_longer():
    estimates = [seconds(COST, effort) for effort in EFFORTS]
    assert estimates == sorted(estimates) and estimates[2] > 5 * estimates[0]


@pytest.mark.parametrize(
    "more",
    [
        {"teacher_ms": 16.0}, {"student_ms": 5.0}, {"num_teacher_bundles": 3}, {"num_student_bundles": 5},
        {"num_rows": 9000}, {"compiled_teacher": True}, {"roofline": True}, {"torch_start_s": 9.0},
    ],
)  # fmt: skip
def test_every_part_of_the_lineup_counts(more):
    protocol = settings_of("quick").protocol("quick", num_threads=2)
    assert benchmark_seconds(replace(COST, **more), protocol, ()) > benchmark_seconds(COST, protocol, ())


def test_every_row_is_scored_by_every_system():
    protocol = settings_of("quick").protocol("quick", num_threads=2)
    none, many = (benchmark_seconds(replace(COST, num_rows=rows), protocol, ()) for rows in (0, 100_000))
    assert many - none > 100_000 * (COST.teacher_ms + COST.student_ms) / 1000


def test_the_grid_the_load_test_and_the_thread_sweep_take_time():
    protocol = settings_of("standard").protocol("standard", num_threads=2)
    plain = benchmark_seconds(COST, protocol, ())
    assert benchmark_seconds(COST, protocol, [(1, 64)]) > plain
    assert benchmark_seconds(COST, protocol, (), load=LoadTest(bound_ms=20.0)) > plain
    assert benchmark_seconds(COST, protocol, (), thread_counts=[1, 2]) > 2 * plain
