"""Task types, and all behaviour that depends on them. Importing this module loads neither torch nor pandas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, assert_never, get_args

import numpy as np

from compress.common.errors import UserError
from compress.data import columns, metrics
from compress.data.label_matching import listed
from compress.data.metrics import Metric, Positive
from compress.results import LabelDrift

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

TaskTypeName = Literal["classification", "regression"]
REGRESSION_OUTPUT = "score"
NOTICEABLE_MOVE = 0.1  # of the stored values' range
NEGATIVE = -0.2  # a correlation that is no accident on a table of usual size


class TaskType(Protocol):
    """The interface of a task type.

    `labels`, `logits`, `predictions` and `answers` are arrays whose first axis is the rows. Their other axes depend on
    the type. `predictions` have the form of labels; `answers` are what users get. Other code never checks the number of
    labels or outputs, or the data type of an array.

    A new type needs a class here with all of these members, a name in `TaskTypeName` and a line in `task_type`. Add new
    metrics to `compress.data.metrics`, losses to `compress.losses`, and readers of label cells to
    `compress.data.columns`. `bench.results.phrases`, `bench.analysis.tfidf_baseline`,
    `bench.timing.engines` and `export.bundle.folder` match on the name, and mypy fails there until they handle the new
    type. `export.bundle.runtime` imports nothing of ours and needs a branch for `predict.py`.

    `metrics`: the metrics for this type. `has_classes`: whether labels belong to a closed set of named classes.
    `outputs`: how many outputs a model has, in words.
    """

    name: ClassVar[TaskTypeName]
    metrics: ClassVar[tuple[Metric, ...]]
    default_metric: ClassVar[Metric]
    has_classes: ClassVar[bool]
    outputs: ClassVar[str]

    def has_outputs(self, count: int) -> bool:
        """Whether a model of this type can have `count` outputs."""

    def label_names(
        self, column: "pd.Series", *, known: Sequence[str] | None, where: str, remarks: list[str] | None = None
    ) -> tuple[str, ...]:
        """The names of a model's outputs. `known`: names from the user or the data set. Raises UserError if too few.

        `remarks` receives a line for names that may be a mistake.
        """

    def read_labels(
        self,
        cells: Mapping[str, "pd.Series"],
        names: tuple[str, ...],
        *,
        by_position: bool,
        where: str,
        in_order_of_integers: bool = False,
        remarks: list[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """The labels of all splits as numbers, (rows, ...) each. Raises UserError for a cell that is not a label.

        `by_position`: the cells are known to hold indices into `names`, not names. `in_order_of_integers`: integers in
        the cells mean `names` in the order of the integers. `remarks` receives a line on how the cells were read.
        """

    def absent_labels(self, names: tuple[str, ...], labels: np.ndarray) -> list[str]:
        """A remark on classes that no row has."""

    def groups(self, labels: np.ndarray) -> np.ndarray:
        """The group of each row, (rows,). A stratified sample takes equally many rows of each group."""

    def check_splits(self, name: str, names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> list[str]:
        """Remarks on labels without rows. Raises UserError if dev or test has a label that train lacks."""

    def most_common_share(self, labels: np.ndarray) -> float | None:
        """The accuracy of always predicting the most common label; None if labels are not classes."""

    def better_order(self, labels: np.ndarray, predictions: np.ndarray, num_labels: int) -> list[int] | None:
        """For each output, the label that it probably means; None if the order seems right."""

    def doubt(self, labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> str | None:
        """A sign that the labels of the data are not those of the model, such as an order that is possibly wrong."""

    def doubt_of_score(self, labels: np.ndarray, score: float, names: Sequence[str]) -> str | None:
        """A score, in the default metric, so low that the labels of the data may not be those of the model."""

    def model_class(self) -> Any:
        """The transformers class for models of this type. Imports torch and transformers."""

    def label_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """The loss between logits and labels, one value per example, (batch,)."""

    def distillation_loss(self, student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
        """The loss between student and teacher logits, one value per example, (batch,)."""

    def decide(self, logits: np.ndarray) -> np.ndarray:
        """The predictions, in the form of labels."""

    def answers(self, logits: np.ndarray) -> np.ndarray:
        """The outputs that users get, comparable between models: probabilities or values. Same as in `runtime`."""

    def unit(self, answers: np.ndarray) -> float:
        """The unit for reporting changes of `answers`."""

    def score(
        self,
        metric: Metric,
        labels: np.ndarray,
        predictions: np.ndarray,
        num_labels: int,
        *,
        positive: Positive | None = None,
    ) -> float:
        """One of `metrics`. `predictions`: from `decide`. `positive`: the class of the metric f1, for two classes."""

    def changed(self, logits: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Whether the label of each row differs from the reference, bool (rows,). Takes logits or `answers`."""

    def changed_above(self, logits: np.ndarray, reference: np.ndarray, confidence: float) -> np.ndarray:
        """Whether the label of each row differs with a probability above `confidence`, bool (rows,)."""

    def noticeably_changed(self, answers: np.ndarray, stored: np.ndarray) -> np.ndarray:
        """Whether a user would notice that the answer of each row differs from the stored one, bool (rows,)."""

    def drift(self, augmented: np.ndarray, originals: np.ndarray) -> LabelDrift:
        """How augmentation changes the teacher's predictions. Takes its logits for both texts, row by row."""


@dataclass(frozen=True)
class Classification:
    """One of two or more classes.

    Labels are class indices, (rows,). Logits and answers (probabilities) are (rows, classes).
    """

    name: ClassVar[TaskTypeName] = "classification"
    metrics: ClassVar[tuple[Metric, ...]] = ("accuracy", "macro_f1", "f1", "matthews")
    default_metric: ClassVar[Metric] = "accuracy"
    has_classes: ClassVar[bool] = True
    outputs: ClassVar[str] = "two or more"

    def has_outputs(self, count: int) -> bool:
        return count >= 2

    def label_names(
        self, column: "pd.Series", *, known: Sequence[str] | None, where: str, remarks: list[str] | None = None
    ) -> tuple[str, ...]:
        names = tuple(known or columns.label_names_of(column, where=where, remarks=remarks))
        if not self.has_outputs(len(names)):
            raise UserError(
                f"{where}: column {column.name!r} holds {len(names)} class ({', '.join(names)}); expected at least two"
            )
        return names

    def read_labels(
        self,
        cells: Mapping[str, "pd.Series"],
        names: tuple[str, ...],
        *,
        by_position: bool,
        where: str,
        in_order_of_integers: bool = False,
        remarks: list[str] | None = None,
    ) -> dict[str, np.ndarray]:
        return columns.label_indices_of(
            cells,
            names,
            by_position=by_position,
            where=where,
            in_order_of_integers=in_order_of_integers,
            remarks=remarks,
        )

    def absent_labels(self, names: tuple[str, ...], labels: np.ndarray) -> list[str]:
        missing = columns.missing_classes(names, labels)
        return [f"no row has the label {listed(missing)}"] if missing else []

    def groups(self, labels: np.ndarray) -> np.ndarray:
        return labels

    def check_splits(self, name: str, names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> list[str]:
        return columns.check_classes(name, names, labels)

    def most_common_share(self, labels: np.ndarray) -> float:
        return float(np.bincount(labels).max() / len(labels))

    def better_order(self, labels: np.ndarray, predictions: np.ndarray, num_labels: int) -> list[int] | None:
        return metrics.better_order(labels, predictions, num_classes=num_labels)

    def doubt(self, labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> str | None:
        order = metrics.better_order(labels, predictions, num_classes=len(names), suspected=True)
        if order is not None:
            moved = next(index for index in range(len(names)) if order[index] != index)
            return f"where it predicts {names[moved]!r}, more rows have the label {names[order[moved]]!r}"
        return self.doubt_of_score(labels, float((labels == predictions).mean()), names)

    def doubt_of_score(self, labels: np.ndarray, score: float, names: Sequence[str]) -> str | None:
        if not metrics.is_below_baseline(score, labels):
            return None
        counts = np.bincount(labels)
        share, most_common = counts.max() / len(labels), names[int(counts.argmax())]
        return f"its accuracy of {score:.3f} is below {share:.3f}, that of always predicting {most_common!r}"

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

    def score(
        self,
        metric: Metric,
        labels: np.ndarray,
        predictions: np.ndarray,
        num_labels: int,
        *,
        positive: Positive | None = None,
    ) -> float:
        return metrics.score(metric, labels, predictions, num_classes=num_labels, positive=positive)

    def changed(self, logits: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return logits.argmax(axis=1) != reference.argmax(axis=1)

    def changed_above(self, logits: np.ndarray, reference: np.ndarray, confidence: float) -> np.ndarray:
        probabilities = self.answers(logits.astype(np.float64))
        return self.changed(logits, reference) & (probabilities.max(axis=1) > confidence)

    def noticeably_changed(self, answers: np.ndarray, stored: np.ndarray) -> np.ndarray:
        return self.changed(answers, stored)

    def drift(self, augmented: np.ndarray, originals: np.ndarray) -> LabelDrift:
        return LabelDrift(num_variants=len(augmented), changed_share=float(self.changed(augmented, originals).mean()))


@dataclass(frozen=True)
class Regression:
    """One number per row. Labels are float64, (rows,). Logits and answers (values) are (rows, 1)."""

    name: ClassVar[TaskTypeName] = "regression"
    metrics: ClassVar[tuple[Metric, ...]] = ("pearson_spearman",)
    default_metric: ClassVar[Metric] = "pearson_spearman"
    has_classes: ClassVar[bool] = False
    outputs: ClassVar[str] = "one output"

    def has_outputs(self, count: int) -> bool:
        return count == 1

    def label_names(
        self, column: "pd.Series", *, known: Sequence[str] | None, where: str, remarks: list[str] | None = None
    ) -> tuple[str, ...]:
        """The name of the one output, for any column."""
        return (REGRESSION_OUTPUT,)

    def read_labels(
        self,
        cells: Mapping[str, "pd.Series"],
        names: tuple[str, ...],
        *,
        by_position: bool,
        where: str,
        in_order_of_integers: bool = False,
        remarks: list[str] | None = None,
    ) -> dict[str, np.ndarray]:
        return columns.label_values_of(cells, where=where)

    def absent_labels(self, names: tuple[str, ...], labels: np.ndarray) -> list[str]:
        return []

    def groups(self, labels: np.ndarray) -> np.ndarray:
        """One group: no stratification."""
        return np.zeros(len(labels), dtype=int)

    def check_splits(self, name: str, names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> list[str]:
        return []

    def most_common_share(self, labels: np.ndarray) -> None:
        """None: values have no classes."""

    def better_order(self, labels: np.ndarray, predictions: np.ndarray, num_labels: int) -> None:
        """None: a single output has no order."""

    def doubt(self, labels: np.ndarray, predictions: np.ndarray, names: Sequence[str]) -> str | None:
        return self.doubt_of_score(labels, self.score(self.default_metric, labels, predictions, len(names)), names)

    def doubt_of_score(self, labels: np.ndarray, score: float, names: Sequence[str]) -> str | None:
        """A negative correlation."""
        return f"its correlation with the labels is {score:.3f}" if score < NEGATIVE else None

    def model_class(self) -> Any:
        """The class for classification, whose head gets one output."""
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
        """The logits, unchanged, (rows, 1)."""
        return logits

    def unit(self, answers: np.ndarray) -> float:
        """The standard deviation of the values, or 1 if it is 0."""
        return float(answers.std()) or 1.0

    def score(
        self,
        metric: Metric,
        labels: np.ndarray,
        predictions: np.ndarray,
        num_labels: int,
        *,
        positive: Positive | None = None,
    ) -> float:
        return metrics.score(metric, labels, predictions, num_classes=num_labels, positive=positive)

    def changed(self, logits: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return np.zeros(len(logits), dtype=bool)

    def changed_above(self, logits: np.ndarray, reference: np.ndarray, confidence: float) -> np.ndarray:
        return self.changed(logits, reference)

    def noticeably_changed(self, answers: np.ndarray, stored: np.ndarray) -> np.ndarray:
        """Whether the value moved by more than a tenth of the range of the stored values."""
        return np.abs(answers - stored)[:, 0] > NOTICEABLE_MOVE * np.ptp(stored)

    def drift(self, augmented: np.ndarray, originals: np.ndarray) -> LabelDrift:
        change = float(np.abs(augmented - originals).mean())
        return LabelDrift(num_variants=len(augmented), mean_change=change, spread=float(originals.std()))


def task_type(name: TaskTypeName) -> TaskType:
    """The task type with this name."""
    match name:
        case "classification":
            return Classification()
        case "regression":
            return Regression()
    assert_never(name)


def type_for_metric(metric: Metric) -> TaskTypeName:
    """The first task type that has the metric."""
    return next(name for name in get_args(TaskTypeName) if metric in task_type(name).metrics)


def type_of_model(problem_type: str | None, labels: Sequence[str]) -> TaskTypeName:
    """The task type of a fine-tuned model, from `problem_type` and the labels in its config.json."""
    return "regression" if problem_type == "regression" or len(labels) == 1 else "classification"


def _model_class(task: str) -> Any:
    from optimum.exporters.tasks import TasksManager

    return TasksManager.get_model_class_for_task(task)
