"""Loss curves of a training stage, and the comparison of two runs: how many steps a better start saves."""

from collections.abc import Sequence
from dataclasses import dataclass

from compress.results import LossEntry

STEPS = (1, 20, 40, 60, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 10_000)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The loss of a stage in one run. `steps`: logged optimiser steps, ascending. `losses`: the sum of `parts`.

    A logged loss is the mean since the step logged before.
    """

    name: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    parts: dict[str, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """The losses of both runs at one step of the first run. `second`: None if the second run did not log this step.

    `steps_of_second`: the first step at which the second run reached the loss `first`; None if it never did.
    """

    step: int
    first: float
    second: float | None
    steps_of_second: int | None


@dataclass(frozen=True, kw_only=True)
class CurveComparison:
    """The loss curves of a stage in two runs, and their comparison at some of the steps."""

    stage: str
    runs: list[Curve]
    lines: list[Line]


def curve_of(name: str, history: Sequence[LossEntry]) -> Curve:
    """The curve of a stage's log."""
    entries = [entry for entry in history if entry.parts]
    names = sorted({part for entry in entries for part in entry.parts})
    return Curve(
        name=name,
        steps=tuple(entry.step for entry in entries),
        losses=tuple(sum(entry.parts.values()) for entry in entries),
        parts={part: tuple(entry.parts.get(part, 0.0) for entry in entries) for part in names},
    )


def steps_to_reach(curve: Curve, loss: float) -> int | None:
    """The first logged step with at most this loss; None if there is none."""
    return next((step for step, value in zip(curve.steps, curve.losses, strict=True) if value <= loss), None)


def side_by_side(first: Curve, second: Curve) -> list[Line]:
    """Both runs at those of STEPS that the first run logged, and at its last step."""
    second_losses = dict(zip(second.steps, second.losses, strict=True))
    steps = {*STEPS, first.steps[-1]}
    return [
        Line(step=step, first=loss, second=second_losses.get(step), steps_of_second=steps_to_reach(second, loss))
        for step, loss in zip(first.steps, first.losses, strict=True)
        if step in steps
    ]
