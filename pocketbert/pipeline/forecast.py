"""What `pocketbert check` reports, as typed records; loads no torch."""

from dataclasses import dataclass

from bench.results.document import SplitSizes
from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName
from pocketbert.pipeline.plan import StageName


@dataclass(frozen=True, kw_only=True)
class TokenLengths:
    """Tokens of some train rows, special ones included, before they are cut at `max_length`."""

    median: float
    longest: int
    max_length: int
    share_cut: float


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """A model's dimensions. `name`: where its weights come from."""

    name: str
    architecture: str
    layers: int
    width: int
    heads: int
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class StageForecast:
    """A stage that a run would do or skip.

    `num_steps`: optimiser steps; None where it trains nothing. `estimated_s`: 0 where it is done; None where it trains
    nothing and no run in this folder has timed it yet.
    """

    name: StageName
    state: str
    num_steps: int | None
    estimated_s: float | None


@dataclass(frozen=True, kw_only=True)
class RunForecast:
    """The resolved plan of a recipe. `answers`: in words, what the model will answer."""

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
    variants: list[str]
    required: list[str]
