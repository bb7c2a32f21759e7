"""The report of `pocketbert check`, as typed records. Loads no torch."""

from dataclasses import dataclass, field
from math import ceil

from bench.results.document import Choice, SplitSizes
from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName
from pocketbert.pipeline.plan import StageName

LONGEST_IN_SECONDS, LONGEST_IN_MINUTES = 100, 6000  # seconds


@dataclass(frozen=True, kw_only=True)
class TokenLengths:
    """Token counts of train rows, special tokens included, before truncation to `max_length`.

    `share_cut`: share of the rows that are truncated. `basis`: the rows that were counted.
    """

    median: float
    longest: int
    max_length: int
    share_cut: float
    basis: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """The size of a model. `name`: the source of its weights."""

    name: str
    architecture: str
    layers: int
    width: int
    heads: int
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class StageForecast:
    """A stage of the run, with its state and its estimated time.

    `num_steps`: the most optimiser steps, over all trainings; None if the stage does not train. `estimated_s`,
    `maximum_s`: expected time of all steps and upper bound; 0 if the stage is done. `extrapolated`: the basis of the
    estimate, if it is not full steps of this stage.
    """

    name: StageName
    state: str
    num_steps: int | None
    estimated_s: float
    maximum_s: float
    extrapolated: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunForecast:
    """The resolved plan of a recipe.

    `choices`: the values that were chosen for keys that the recipe leaves open. `busy_cores`: cores that other programs
    used during the timing, of `usable_cores`. `warnings`: reasons why the estimate may be wrong.
    """

    name: str
    folder: str
    labels: list[str]
    task_type: TaskTypeName
    metric: Metric
    num_rows: SplitSizes
    remarks: list[str]
    tokens: TokenLengths
    teacher: ModelSummary
    student: ModelSummary
    stages: list[StageForecast]
    estimated_s: float
    maximum_s: float
    variants: list[str]
    required: list[str]
    choices: list[Choice] = field(default_factory=list)
    busy_cores: float = 0.0
    usable_cores: int = 0
    warnings: list[str] = field(default_factory=list)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, rounded."""
    if seconds < LONGEST_IN_SECONDS:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < LONGEST_IN_MINUTES else f"{seconds / 3600:.1f} h"


def at_most(seconds: float) -> str:
    """Seconds, minutes or hours, rounded up."""
    if seconds < LONGEST_IN_SECONDS:
        return f"{ceil(seconds)} s"
    return f"{ceil(seconds / 60)} min" if seconds < LONGEST_IN_MINUTES else f"{ceil(seconds / 360) / 10:.1f} h"


def time_phrase(expected_s: float, maximum_s: float) -> str:
    """An estimate with its upper bound, such as "about 9 min, at most 14 min"."""
    return f"about {duration(expected_s)}, at most {at_most(maximum_s)}"
