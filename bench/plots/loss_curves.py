"""Loss curves of a training stage in two runs, on the same steps: how many steps a better start is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

from compress.results import LossEntry

STEPS = (1, 20, 40, 60, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 10_000)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A stage's loss in one run. `steps`: as logged, ascending; `losses`: the sum of all, a mean since the last log.

    `parts`: each loss by itself.
    """

    name: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    parts: dict[str, tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Line:
    """Both runs' losses at one step of the first; None where the second was not logged.

    `steps_of_second`: the first step at which the second run reached the first one's loss here; None if it never did.
    """

    step: int
    first: float
    second: float | None
    steps_of_second: int | None


@dataclass(frozen=True, kw_only=True)
class CurveComparison:
    """The document of `curves`: both runs' curves of a stage, and their comparison at a choice of steps."""

    stage: str
    runs: list[Curve]
    lines: list[Line]


def curve_of(name: str, history: Sequence[LossEntry]) -> Curve:
    """A curve from a stage's log."""
    entries = [entry for entry in history if entry.parts]
    names = sorted({part for entry in entries for part in entry.parts})
    return Curve(
        name=name,
        steps=tuple(entry.step for entry in entries),
        losses=tuple(sum(entry.parts[part] for part in names) for entry in entries),
        parts={part: tuple(entry.parts[part] for entry in entries) for part in names},
    )


def steps_to_reach(curve: Curve, loss: float) -> int | None:
    """The first logged step with a loss that low; None where there is none."""
    return next((step for step, value in zip(curve.steps, curve.losses, strict=True) if value <= loss), None)


def side_by_side(first: Curve, second: Curve) -> list[Line]:
    """The runs at a choice of the first one's steps, and at its last."""
    theirs = dict(zip(second.steps, second.losses, strict=True))
    steps = {*STEPS, first.steps[-1]}
    return [
        Line(step=step, first=loss, second=theirs.get(step), steps_of_second=steps_to_reach(second, loss))
        for step, loss in zip(first.steps, first.losses, strict=True)
        if step in steps
    ]
