"""The report of `pocketbert check`, as typed records. Loads no torch."""

from dataclasses import dataclass

from bench.results.document import SplitSizes
from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName
from pocketbert.pipeline.plan import StageName


@dataclass(frozen=True, kw_only=True)
class TokenLengths:
    """Token counts of a sample of train rows, special tokens included, before truncation to `max_length`."""

    median: float
    longest: int
    max_length: int
    share_cut: float


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

    `num_steps`: optimiser steps; None if the stage does not train. `estimated_s`: 0 if the stage is done; None if it
    does not train and no run in this folder has timed it.
    """

    name: StageName
    state: str
    num_steps: int | None
    estimated_s: float | None


@dataclass(frozen=True, kw_only=True)
class RunForecast:
    """The resolved plan of a recipe."""

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
