"""The figures of a run that its advice and its summary are based on."""

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bench.results.benchmark import BenchmarkRow, Role
from bench.results.document import Results, RunFacts, StageResults
from compress.results import SplitScores, TrainingResult

KEPT_WELL = 0.97  # of the teacher's score: a student that keeps as much needs no advice
LARGE_GAP, GAP_ERRORS = 0.03, 3.0  # between dev and test: of the score, and in standard errors


@dataclass(frozen=True)
class RunFigures:
    """Results of a run, with names for the figures that decide what to try next. `run`: of the same results."""

    results: Results
    run: RunFacts

    @property
    def stages(self) -> StageResults:
        """The results of the stages."""
        return self.results.stages

    @property
    def split(self) -> str:
        """The split that the benchmark scored."""
        return self.run.scored_split

    @property
    def num_scored_rows(self) -> int:
        """The number of its rows."""
        return self.run.num_scored_rows

    @property
    def num_dev_rows(self) -> int:
        """The number of dev rows."""
        return self.run.num_rows.dev

    @property
    def labels(self) -> list[str]:
        """The names of the outputs; empty if not recorded."""
        return [] if self.stages.export is None else self.stages.export.labels

    def label(self, index: int) -> str:
        """The name of a class, or its number if names were not recorded."""
        return self.labels[index] if index < len(self.labels) else f"class {index}"

    @property
    def teacher_row(self) -> BenchmarkRow | None:
        """The teacher in torch."""
        return self._row("teacher", "torch")

    @property
    def student_row(self) -> BenchmarkRow | None:
        """The student in torch."""
        return self._row("student", "torch")

    @property
    def baseline_row(self) -> BenchmarkRow | None:
        """The TF-IDF baseline."""
        return self._row("baseline", "scikit-learn")

    def _row(self, role: Role, engine: str) -> BenchmarkRow | None:
        rows = self.stages.bench.rows
        return next((row for row in rows if (row.role, row.engine) == (role, engine) and row.score is not None), None)

    @property
    def bundle_row(self) -> BenchmarkRow | None:
        """The recommended bundle; None if none is."""
        exported = self.stages.export
        return self.stages.bench.student_bundle(None if exported is None else exported.recommended)

    @property
    def retention(self) -> float | None:
        """The student's score in torch divided by the teacher's; None if that means nothing."""
        teacher, student = self.stages.teacher, self.stages.prediction
        if teacher is None or student is None or not teacher.scores.test > 0:
            return None
        return student.scores.test / teacher.scores.test

    @property
    def kept(self) -> str:
        """A clause with the retention."""
        return (
            f"The student keeps {self.retention or 0:.1%} of the teacher's {self.results.metric_name} on {self.split}"
        )

    @property
    def is_poor(self) -> bool:
        """Whether the student keeps too little of the teacher's score, and not by chance."""
        if self.retention is None or self.retention >= KEPT_WELL:
            return False
        row = self.student_row
        return row is None or row.retention is None or row.retention.high < 1

    @property
    def split_gap(self) -> SplitScores | None:
        """The teacher's scores, if dev and test differ by more than chance explains."""
        teacher = self.stages.teacher
        if teacher is None or self.run.selected_on_test:
            return None
        scores, rows = teacher.scores, self.run.num_rows
        middle = min(0.99, max(0.01, (scores.dev + scores.test) / 2))
        error = sqrt(middle * (1 - middle) * (1 / max(1, rows.dev) + 1 / max(1, rows.test)))
        gap = abs(scores.dev - scores.test)
        return scores if gap > LARGE_GAP and gap > GAP_ERRORS * error else None

    @property
    def is_fine_tuned_here(self) -> bool:
        """Whether the run fine-tuned its teacher."""
        return self.stages.teacher is None or self.stages.teacher.training is not None

    @property
    def teacher_training(self) -> TrainingResult | None:
        """The fine-tuning of the teacher, if the run did it."""
        return None if self.stages.teacher is None else self.stages.teacher.training

    def has_chosen(self, key: str) -> bool:
        """Whether the run chose this key, or a key of this section, itself."""
        return any(choice.key == key or choice.key.startswith(f"{key}.") for choice in self.run.choices)

    @cached_property
    def _settings(self) -> Any:
        reproduce = self.results.reproduce
        if reproduce is None or reproduce.recipe is None:
            return {}
        try:
            return YAML(typ="safe", pure=True).load(reproduce.recipe)
        except YAMLError:
            return {}

    def setting(self, key: str) -> Any:
        """The value of a key of the recipe; None if it is unknown or not set."""
        value = self._settings
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def number(self, key: str) -> float | None:
        """The value of a key of the recipe, if it is a number."""
        value = self.setting(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def figures_of(results: Results) -> RunFigures:
    """The figures of a run's results."""
    assert results.run is not None
    return RunFigures(results, results.run)
