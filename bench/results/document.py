"""results.json: one typed document for a run or a benchmark; reading, writing and its JSON Schema.

What the stages report is defined where it is made: `compress.results` (training), `export.results` (parity and
variants), `bench.results.measurements` and `bench.results.benchmark` (the benchmark).
"""

import json
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
from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName
from compress.models.shape import StudentShape
from compress.results import (
    AugmentResult,
    GeneralResult,
    IntermediateResult,
    MaskedLMResult,
    PredictionResult,
    TeacherResult,
    TrainingResult,
)
from export.results import ExportResult

FORMAT_VERSION: Literal[5] = 5  # changes whenever a reader of the version before would misread it
FILE = "results.json"


@dataclass(frozen=True, kw_only=True)
class SplitSizes:
    """Rows of each split."""

    train: int
    dev: int
    test: int


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The task and the student of a run.

    `selected_on_test`: there were too few rows for a test split, so that the scores are of the rows that chose the
    checkpoints. `split_names`: where the data have their own. `most_common_label`: its share of the test rows; None
    where labels are values. `gate`: what was not good enough to ship, in words; empty when all is well.
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


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """How to make the same again. `recipe`: with every default filled in; None for a benchmark alone."""

    words: str
    command: str
    recipe: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedShape:
    """A row of TinyBERT's Table 1 (Jiao et al. 2020): millions of parameters, 10^9 operations, and how many times as
    fast as BERT-base on an NVIDIA K80; None where the paper leaves it out.
    """

    parameters: float
    operations: float
    times: float | None


@dataclass(frozen=True, kw_only=True)
class ShapeComparison:
    """That row compared with what was counted and timed here, in the same units."""

    name: str
    paper: PublishedShape
    parameters: float
    operations: float
    times: Ratio | None


@dataclass(frozen=True, kw_only=True)
class StageResults:
    """What each stage reports; None for a stage that the run does not have. A benchmark alone has `bench`."""

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
        """From what the stages of a run reported, as plain values; `export`: after the gate."""
        return replace(TypeAdapter(cls).validate_python(reported), export=export)

    def trainings(self) -> dict[str, TrainingResult]:
        """The trainings of the stages that trained, in their order."""
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
    """The whole of results.json. `run` is None for a benchmark alone. `stage_seconds`: of each stage of a run.

    `shapes`: of `bench-shapes`, the paper's figures compared with those measured here.
    """

    format_version: Literal[5] = FORMAT_VERSION
    name: str
    metric: Metric
    task_type: TaskTypeName
    stages: StageResults
    run: RunFacts | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)
    reproduce: Reproduce | None = None
    shapes: list[ShapeComparison] = field(default_factory=list)


@cache
def _adapter() -> TypeAdapter[Results]:
    return TypeAdapter(Results)


def results_schema() -> Mapping[str, Any]:
    """JSON Schema of results.json and of `bench --json`, draft 2020-12."""
    schema = _adapter().json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Results of PocketBERT", **schema}


def read_results(folder: Path) -> Results:
    """The results.json of a run or benchmark. Raises UserError where there is none that this version can read."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format_version"]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; a run writes it when its last stage is done") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: no readable results ({type(error).__name__}: {error}); run the recipe again"
        ) from error
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: got format version {version}, expected {FORMAT_VERSION}; run the recipe or benchmark again into "
            "another folder (--output), or use the PocketBERT that wrote it"
        )
    try:
        return _adapter().validate_python(content)
    except ValidationError as error:
        raise UserError(
            f"{path}: a part is missing or not as it was written ({first_invalid(error)}); run the recipe again"
        ) from error


def write_results(results: Results, folder: Path) -> None:
    """Write results.json into a folder, atomically."""
    write_json(folder / FILE, to_jsonable_python(results))
