"""What kind of answer a task asks for, and all that follows from it; loads neither torch nor pandas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, assert_never, get_args

import numpy as np

from compress.common.errors import UserError
from compress.data import columns, metrics
from compress.data.metrics import Metric
from compress.results import LabelDrift

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

TaskTypeName = Literal["classification", "regression"]
REGRESSION_OUTPUT = "score"
NOTICEABLE_MOVE = 0.1  # of the stored values' range


class TaskType(Protocol):
    """What a task type decides.

    `labels`, `logits` and `answers` are arrays whose first axis is the rows; their other axes are the type's own. No
    code outside the types asks how many labels or outputs there are, or of which kind an array is.

    A new type provides one class here with all of these members, a name in `TaskTypeName` and a line in `task_type`. A
    metric that no type has yet goes into `compress.data.metrics`, a loss into `compress.losses`, the reading of new
    label cells into `compress.data.columns`. `bench.results.phrases`, `bench.analysis.tfidf_baseline`,
    `bench.timing.engines` and `export.bundle.folder` match on the name: mypy fails there until they handle the new
    type. `export.bundle.runtime` stands alone and needs a branch for `predict.py`.

    `metrics`: those that compare labels and answers of this type. `has_classes`: whether labels are names of a closed
    set, so that they can be named, counted and flip. `outputs`: how many outputs a model has, in words.
    """

    name: ClassVar[TaskTypeName]
    metrics: ClassVar[tuple[Metric, ...]]
    default_metric: ClassVar[Metric]
    has_classes: ClassVar[bool]
    outputs: ClassVar[str]

    def has_outputs(self, count: int) -> bool:
        """Whether a model of this type can have so many outputs."""

    def label_names(self, column: "pd.Series", *, known: Sequence[str] | None, where: str) -> tuple[str, ...]:
        """The names of a model's outputs. `known`: as given. Raises UserError where the column teaches nothing."""

    def read_labels(
        self, cells: Mapping[str, "pd.Series"], names: tuple[str, ...], *, by_position: bool, where: str
    ) -> dict[str, np.ndarray]:
        """The label columns of all splits as numbers, (rows, ...) each. Raises UserError for a cell that is no label.

        `by_position`: the cells certainly hold positions in `names`, not names.
        """

    def groups(self, labels: np.ndarray) -> np.ndarray:
        """The group of each row, (rows,); a stratified draw takes equally many rows of each group."""

    def check_splits(self, name: str, names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> list[str]:
        """Remarks on labels that no row has. Raises UserError where dev or test holds one that train lacks."""

    def most_common_share(self, labels: np.ndarray) -> float | None:
        """The accuracy of always answering the most common label; None where labels are no classes."""

    def better_order(self, labels: np.ndarray, answers: np.ndarray, num_labels: int) -> list[int] | None:
        """For each output the label that it probably stands for; None where the order seems right."""

    def model_class(self) -> Any:
        """The transformers class that loads and makes models of this type. Imports torch and transformers."""

    def label_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """The loss against labels, one value per example, (batch,)."""

    def distillation_loss(self, student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
        """The loss of the student's logits against the teacher's, one value per example, (batch,)."""

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """What a model answers, in the form of the labels."""

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """Logits as users get them, in a unit that two models share: probabilities, or values. As in `runtime`."""

    def unit(self, answers: np.ndarray) -> float:
        """The unit in which changes of `answers` are reported."""

    def score(self, metric: Metric, labels: np.ndarray, answers: np.ndarray, num_labels: int) -> float:
        """One of `metrics`, of what `decide` gave."""

    def changed(self, logits: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Where a row's label differs from the reference's, bool (rows,); takes logits, or `answers`."""

    def changed_above(self, logits: np.ndarray, reference: np.ndarray, confidence: float) -> np.ndarray:
        """Where a row's label differs and has a probability of more than `confidence`, bool (rows,)."""

    def noticeably_changed(self, answers: np.ndarray, stored: np.ndarray) -> np.ndarray:
        """Where a user would say that a row's answer differs from the stored one, bool (rows,)."""

    def drift(self, variants: np.ndarray, originals: np.ndarray) -> LabelDrift:
        """What replacing words does to the teacher's answers: logits of variants, and of the texts they come from."""


@dataclass(frozen=True)
class Classification:
    """One of two or more classes.

    Labels: (rows,) class indices; logits and answers, which are probabilities: (rows, classes).
    """

    name: ClassVar[TaskTypeName] = "classification"
    metrics: ClassVar[tuple[Metric, ...]] = ("accuracy", "f1", "matthews")
    default_metric: ClassVar[Metric] = "accuracy"
    has_classes: ClassVar[bool] = True
    outputs: ClassVar[str] = "two or more"

    def has_outputs(self, count: int) -> bool:
        return count >= 2

    def label_names(self, column: "pd.Series", *, known: Sequence[str] | None, where: str) -> tuple[str, ...]:
        names = tuple(known or columns.label_names_of(column, where=where))
        if not self.has_outputs(len(names)):
            raise UserError(
                f"{where}: column {column.name!r} holds {len(names)} class ({', '.join(names)}); expected at least two"
            )
        return names

    def read_labels(
        self, cells: Mapping[str, "pd.Series"], names: tuple[str, ...], *, by_position: bool, where: str
    ) -> dict[str, np.ndarray]:
        return columns.label_indices_of(cells, names, by_position=by_position, where=where)

    def groups(self, labels: np.ndarray) -> np.ndarray:
        return labels

    def check_splits(self, name: str, names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> list[str]:
        return columns.check_classes(name, names, labels)

    def most_common_share(self, labels: np.ndarray) -> float:
        return float(np.bincount(labels).max() / len(labels))

    def better_order(self, labels: np.ndarray, answers: np.ndarray, num_labels: int) -> list[int] | None:
        return metrics.better_order(labels, answers, num_classes=num_labels)

    def model_class(self) -> Any:
        return _model_class("text-classification")

    def label_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        from compress import losses

        return losses.cross_entropy(logits, labels)

    def distillation_loss(self, student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
        from compress import losses

        return losses.soft_cross_entropy(student, teacher, temperature)

    def decide(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(axis=1)

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities, (rows, classes)."""
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def unit(self, answers: np.ndarray) -> float:
        return 1.0

    def score(self, metric: Metric, labels: np.ndarray, answers: np.ndarray, num_labels: int) -> float:
        return metrics.score(metric, labels, answers, num_classes=num_labels)

    def changed(self, logits: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return logits.argmax(axis=1) != reference.argmax(axis=1)

    def changed_above(self, logits: np.ndarray, reference: np.ndarray, confidence: float) -> np.ndarray:
        probabilities = self.answers(logits.astype(np.float64))
        return self.changed(logits, reference) & (probabilities.max(axis=1) > confidence)

    def noticeably_changed(self, answers: np.ndarray, stored: np.ndarray) -> np.ndarray:
        return self.changed(answers, stored)

    def drift(self, variants: np.ndarray, originals: np.ndarray) -> LabelDrift:
        return LabelDrift(num_variants=len(variants), changed_share=float(self.changed(variants, originals).mean()))


@dataclass(frozen=True)
class Regression:
    """A number per row. Labels: (rows,) float64; logits and answers (values): (rows, 1)."""

    name: ClassVar[TaskTypeName] = "regression"
    metrics: ClassVar[tuple[Metric, ...]] = ("pearson_spearman",)
    default_metric: ClassVar[Metric] = "pearson_spearman"
    has_classes: ClassVar[bool] = False
    outputs: ClassVar[str] = "one output"

    def has_outputs(self, count: int) -> bool:
        return count == 1

    def label_names(self, column: "pd.Series", *, known: Sequence[str] | None, where: str) -> tuple[str, ...]:
        """The name of the number, whatever the column holds."""
        return (REGRESSION_OUTPUT,)

    def read_labels(
        self, cells: Mapping[str, "pd.Series"], names: tuple[str, ...], *, by_position: bool, where: str
    ) -> dict[str, np.ndarray]:
        return columns.label_values_of(cells, where=where)

    def groups(self, labels: np.ndarray) -> np.ndarray:
        """One group: any draw will do."""
        return np.zeros(len(labels), dtype=int)

    def check_splits(self, name: str, names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> list[str]:
        return []

    def most_common_share(self, labels: np.ndarray) -> None:
        """Values have none."""

    def better_order(self, labels: np.ndarray, answers: np.ndarray, num_labels: int) -> None:
        """A single output has no order."""

    def model_class(self) -> Any:
        """That of classification; its head has one output."""
        return _model_class("text-classification")

    def label_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        from compress import losses

        return losses.squared_error(logits, labels)

    def distillation_loss(self, student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
        from compress import losses

        return losses.squared_error(student, teacher)

    def decide(self, logits: np.ndarray) -> np.ndarray:
        return logits[:, 0]

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """The values as they are, (rows, 1)."""
        return logits

    def unit(self, answers: np.ndarray) -> float:
        """The spread of the values, where they have one."""
        return float(answers.std()) or 1.0

    def score(self, metric: Metric, labels: np.ndarray, answers: np.ndarray, num_labels: int) -> float:
        return metrics.score(metric, labels, answers, num_classes=num_labels)

    def changed(self, logits: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return np.zeros(len(logits), dtype=bool)

    def changed_above(self, logits: np.ndarray, reference: np.ndarray, confidence: float) -> np.ndarray:
        return self.changed(logits, reference)

    def noticeably_changed(self, answers: np.ndarray, stored: np.ndarray) -> np.ndarray:
        """Where the value moved by more than a tenth of the stored values' range."""
        return np.abs(answers - stored)[:, 0] > NOTICEABLE_MOVE * np.ptp(stored)

    def drift(self, variants: np.ndarray, originals: np.ndarray) -> LabelDrift:
        change = float(np.abs(variants - originals).mean())
        return LabelDrift(num_variants=len(variants), mean_change=change, spread=float(originals.std()))


def task_type(name: TaskTypeName) -> TaskType:
    """The type of that name."""
    match name:
        case "classification":
            return Classification()
        case "regression":
            return Regression()
    assert_never(name)


def type_for_metric(metric: Metric) -> TaskTypeName:
    """The task type where only the metric is known: the first that it suits."""
    return next(name for name in get_args(TaskTypeName) if metric in task_type(name).metrics)


def type_of_model(problem_type: str | None, labels: Sequence[str]) -> TaskTypeName:
    """The task type of a fine-tuned text classifier, from the `problem_type` and the labels of its config.json."""
    return "regression" if problem_type == "regression" or len(labels) == 1 else "classification"


def _model_class(task: str) -> Any:
    from optimum.exporters.tasks import TasksManager

    return TasksManager.get_model_class_for_task(task)
