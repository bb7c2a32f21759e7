"""Successive halving: all candidates train for a while, and only the best of them train on. Loads no torch.

Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization". Budgets are
optimiser steps, so that the choice depends neither on time nor on the machine's speed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from compress.common import distributed
from compress.common.files import write_json
from compress.common.seals import report_damage
from compress.results import SearchPoint

FIRST_SHARE = 4  # the first round trains for this part of the full training


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The values that a search compares."""

    learning_rate: float
    batch_size: int

    @property
    def description(self) -> str:
        """The values in messages."""
        return f"rate {self.learning_rate:g} with batch size {self.batch_size}"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The results on dev after a training, as in `SearchPoint`. A higher score is better."""

    dev_score: float
    dev_loss: float | None
    p_value: float


DIVERGED = Trained(dev_score=-1.0, dev_loss=None, p_value=1.0)  # no metric is lower


def rounds_of(num_candidates: int, full_steps: int) -> list[tuple[int, int]]:
    """The rounds of a search, as (candidates, steps since the start of their training).

    Each round keeps the better half and doubles the steps. The last candidates, usually two, train in full.
    """
    rounds, steps = list[tuple[int, int]](), math.ceil(full_steps / FIRST_SHARE)
    while num_candidates > 2 and steps < full_steps:
        rounds.append((num_candidates, steps))
        num_candidates, steps = math.ceil(num_candidates / 2), 2 * steps
    return [*rounds, (num_candidates, full_steps)]


def num_search_steps(num_candidates: int, full_steps: int) -> int:
    """The optimiser steps of a search, which include the full training of the best candidate."""
    total, before = 0, 0
    for count, steps in rounds_of(num_candidates, full_steps):
        total, before = total + count * (steps - before), steps
    return total


def successive_halving(
    candidates: Sequence[Candidate],
    full_steps: int,
    train: Callable[[Candidate, int], Trained],
    file: Path,
    on_point: Callable[[SearchPoint, int], None],
    on_interrupt: Callable[[], None],
    after_round: Callable[[list[SearchPoint]], None] = lambda points: None,
) -> list[SearchPoint]:
    """Train candidates for more and more steps. Returns all points in order. The best candidate is `best_of` them.

    `train`: trains a candidate until a step, from where the last call for it stopped. `file`: keeps the points, so that
    an interrupted search continues. `on_point` gets each new point and the steps that remain. Ctrl-C ends a search of
    one process that has scored at least one candidate; it calls `on_interrupt`.
    `after_round` gets all points after each round.
    """
    points = _saved(file)
    try:
        _train_all(candidates, full_steps, train, points, file, on_point, after_round)
    except KeyboardInterrupt:
        if not points or distributed.count() > 1:
            raise
        on_interrupt()
    return points


def _train_all(
    candidates: Sequence[Candidate],
    full_steps: int,
    train: Callable[[Candidate, int], Trained],
    points: list[SearchPoint],
    file: Path,
    on_point: Callable[[SearchPoint, int], None],
    after_round: Callable[[list[SearchPoint]], None],
) -> None:
    """Do the trainings of all rounds that `points` lack, and append their points."""
    known = {(candidate_of(point), point.num_steps) for point in points}
    steps_left, steps_before = num_search_steps(len(candidates), full_steps), 0
    kept = list(candidates)
    for count, steps in rounds_of(len(candidates), full_steps):
        kept = _ranked(kept, points)[:count] if steps_before else kept
        for candidate in kept:
            steps_left -= steps - steps_before
            if (candidate, steps) in known:
                continue
            trained = train(candidate, steps)
            point = SearchPoint(**asdict(candidate), num_steps=steps, **asdict(trained))
            points.append(point)
            if distributed.is_main():
                write_json(file, [asdict(each) for each in points])
                on_point(point, steps_left)
        steps_before = steps
        after_round(points)


def best_of(points: Sequence[SearchPoint]) -> Candidate:
    """The best of the candidates that trained longest."""
    longest = max(point.num_steps or 0 for point in points)
    compared = [point for point in points if point.num_steps == longest]
    return _ranked(list(map(candidate_of, compared)), compared)[0]


def candidate_of(point: SearchPoint) -> Candidate:
    """The candidate of a point."""
    return Candidate(learning_rate=point.learning_rate, batch_size=point.batch_size)


def _ranked(candidates: Sequence[Candidate], points: Sequence[SearchPoint]) -> list[Candidate]:
    """The candidates, the best first, by the latest point of each. Of equal scores, the lower loss is better."""

    def rank(candidate: Candidate) -> tuple[float, float]:
        point = [each for each in points if candidate_of(each) == candidate][-1]
        return (point.dev_score, -(math.inf if point.dev_loss is None else point.dev_loss))

    return sorted(candidates, key=rank, reverse=True)


def _saved(file: Path) -> list[SearchPoint]:
    """The points of an interrupted search. If they cannot be read, the search starts over."""
    points = list[SearchPoint]()
    if distributed.is_main() and file.exists():
        try:
            points = TypeAdapter(list[SearchPoint]).validate_json(file.read_bytes())
        except (OSError, ValueError):
            report_damage(f"  {file} is damaged; the search starts over")
    return distributed.broadcast_from_main(points)
