"""results.json as one typed document for a run or a benchmark: reading, writing, JSON Schema.

The records of each stage are defined in `compress.results` (training), `export.results` (parity and variants),
`bench.results.measurements` and `bench.results.benchmark`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from bench.results.benchmark import BenchResult
from bench.results.measurements import Ratio
from compress.common.errors import UserError, first_invalid
from compress.common.files import write_json
from compress.common.wording import short_name
from compress.data.metrics import Metric, metric_name
from compress.data.task_types import TaskTypeName
from compress.models.shape import StudentShape
from compress.reading.json_files import read_json_object
from compress.results import (
    AugmentResult,
    BaselineResult,
    GeneralResult,
    IntermediateResult,
    MaskedLMResult,
    PredictionResult,
    TeacherResult,
    TrainingResult,
)
from export.results import ExportResult, MetricDifference

FORMAT_VERSION: Literal[5] = 5  # increases whenever an older reader would misread the file
FILE = "results.json"


@dataclass(frozen=True, kw_only=True)
class SplitSizes:
    """Number of rows in each split."""

    train: int
    dev: int
    test: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A value that the run chose for a key that the recipe leaves to it (`auto`), and the reason."""

    key: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The task and the student of a run.

    `selected_on_test`: whether there were too few rows for a test split, so that checkpoints were selected on the
    scored rows. `split_names`: the data set's own names of the splits, if any. `most_common_label`: share of the most
    common label in the test rows; None for a regression. `constant_score`: the metric on test of the best model that
    gives every row the same label; None for a regression, or if it was not computed. `teacher_over_baseline`: the
    metric of the teacher on dev minus that of the TF-IDF baseline. `teacher`: its shape, if known. `gate`: the
    failures of variants, as text; empty if none. `choices`: the values that the run chose itself.
    """

    smoke: bool
    selected_on_test: bool
    split_names: dict[str, str]
    num_rows: SplitSizes
    most_common_label: float | None
    takes_pairs: bool
    student: StudentShape
    remarks: list[str] = field(default_factory=list)
    gate: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    constant_score: float | None = None
    teacher_over_baseline: MetricDifference | None = None
    teacher: StudentShape | None = None

    @property
    def scored_split(self) -> str:
        """The split that the benchmark scored: dev if there is no test split."""
        return "dev" if self.selected_on_test else "test"

    @property
    def num_scored_rows(self) -> int:
        """The number of its rows."""
        return self.num_rows.dev if self.selected_on_test else self.num_rows.test


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """How to reproduce the results. `recipe`: with all defaults filled in; None for a benchmark without a run."""

    words: str
    command: str
    recipe: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedShape:
    """A row of Table 1 in the TinyBERT paper (Jiao et al. 2020).

    `parameters`: in millions. `operations`: in 10^9. `times`: speedup over BERT-base on an NVIDIA K80; None if the
    paper does not give it.
    """

    parameters: float
    operations: float
    times: float | None


@dataclass(frozen=True, kw_only=True)
class ShapeComparison:
    """A row of the paper compared with our counts and timings, in the same units."""

    name: str
    paper: PublishedShape
    parameters: float
    operations: float
    times: Ratio | None


@dataclass(frozen=True, kw_only=True)
class StageResults:
    """The result of each stage; None for stages that did not run. A benchmark without a run has only `bench`."""

    baseline: BaselineResult | None = None
    teacher: TeacherResult | None = None
    general: GeneralResult | None = None
    masked_lm: MaskedLMResult | None = None
    augment: AugmentResult | None = None
    intermediate: IntermediateResult | None = None
    prediction: PredictionResult | None = None
    export: ExportResult | None = None
    bench: BenchResult

    @classmethod
    def of_json(cls, reported: Mapping[str, JsonValue], export: ExportResult) -> "StageResults":
        """Parse the results of a run's stages from JSON values. `export` replaces the export result after the gate."""
        return replace(TypeAdapter(cls).validate_python(reported), export=export)

    def trainings(self) -> dict[str, TrainingResult]:
        """The training results of the stages that trained, in order."""
        stages = {
            "teacher": self.teacher,
            "general": self.general,
            "masked_lm": self.masked_lm,
            "intermediate": self.intermediate,
            "prediction": self.prediction,
        }
        return {name: stage.training for name, stage in stages.items() if stage is not None and stage.training}


@dataclass(frozen=True, kw_only=True)
class Results:
    """The content of results.json.

    `positive`: the class of the metric f1, for two classes. `run`: None for a benchmark without a run.
    `stage_seconds`: duration of each stage of a run. `shapes`: comparison of the shape benchmark with the paper's
    figures.
    """

    format_version: Literal[5] = FORMAT_VERSION
    name: str
    metric: Metric
    positive: str | None = None
    task_type: TaskTypeName
    stages: StageResults
    run: RunFacts | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)
    reproduce: Reproduce | None = None
    shapes: list[ShapeComparison] = field(default_factory=list)

    @property
    def metric_name(self) -> str:
        """The metric, with its positive class if it has one."""
        return metric_name(self.metric, self.positive)

    @property
    def is_smoke(self) -> bool:
        """Whether these are the results of a smoke run."""
        return self.run is not None and self.run.smoke


@cache
def _adapter() -> TypeAdapter[Results]:
    return TypeAdapter(Results)


def results_schema() -> Mapping[str, Any]:
    """The JSON Schema (draft 2020-12) of results.json and of `bench --json`."""
    schema = _adapter().json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Results of PocketBERT", **schema}


def read_results(folder: Path) -> Results:
    """Read the results.json of a run or benchmark. Raises UserError if it is missing or unreadable."""
    path, problem, advice = folder / FILE, "no readable results", "run the recipe again"
    if not os.path.lexists(path):
        raise UserError(f"{path}: no such file; a run writes it after its last stage")
    content = read_json_object(path, problem=problem, advice=advice)
    if "format_version" not in content:
        raise UserError(f"{path}: {problem} (KeyError: 'format_version'); {advice}")
    version = content["format_version"]
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: got format version {short_name(str(version))}, expected {FORMAT_VERSION}; run the recipe or "
            "benchmark again into another folder (--output), or use the PocketBERT version that wrote it"
        )
    try:
        return _adapter().validate_python(content)
    except ValidationError as error:
        raise UserError(f"{path}: a key is missing or invalid ({first_invalid(error)}); {advice}") from error


def write_results(results: Results, folder: Path) -> None:
    """Write results.json into a folder atomically."""
    write_json(folder / FILE, to_jsonable_python(results))
