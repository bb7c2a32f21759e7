"""The recipe section about the labelled data and the metric."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from compress.common.errors import UserError
from compress.data.metrics import Metric, definition, positive_class
from compress.data.task_types import TaskTypeName, task_type, type_for_metric
from pocketbert.recipe.training import MOST_TEXTS, MOST_TOKENS, Names, RecipeSection


def _without_default(schema: dict[str, JsonValue]) -> None:
    """Remove a default that depends on another key, so that editors do not fill it in."""
    schema.pop("default")


def _as_text(value: object) -> object:
    """A label such as 1 or true as text."""
    return str(value) if isinstance(value, int) else value


class TaskSection(RecipeSection):
    """The labelled data, and the metric of the task."""

    data: str = Field(description="A local file, a folder with train, dev and test files, a Hub name, or builtin:NAME")
    subset: str | None = Field(None, description="Configuration of a Hub data set, such as sst2 of nyu-mll/glue")
    splits: dict[Literal["train", "dev", "test"], str] = Field(
        {}, description="Source of each split: a file in the folder, or the split's name on the Hub"
    )
    text: Annotated[Names, Field(max_length=2)] = Field(
        ["text"], description="Text column, or a list of two for pairs of texts"
    )
    label: str = Field("label", description="Label column: class names, integers, or numbers for regression")
    labels: list[str] | None = Field(
        None,
        description="Class names, in the order of integer labels, or of the outputs of a teacher without names; "
        "default: those in the data",
    )
    encoding: str = Field("utf-8", description="Encoding of local files that are not UTF-8, such as cp1252")
    max_length: Annotated[int, Field(ge=4, le=MOST_TOKENS)] = Field(
        128, description="Tokens per row, special tokens included; longer texts are truncated"
    )
    max_rows: Annotated[int, Field(ge=10, le=MOST_TEXTS)] | None = Field(
        None, description="Largest number of rows per split, sampled at random, for trials; default: all"
    )
    type: TaskTypeName | None = Field(
        None, description="Task type; default: regression for the metric pearson_spearman, else classification"
    )
    metric: Metric = Field(
        "accuracy",
        description="Metric of the report, which also selects checkpoints: "
        + "; ".join(f"{metric}, {definition(metric)}" for metric in get_args(Metric))
        + "; default: accuracy, or for type: regression pearson_spearman",
        json_schema_extra=_without_default,
    )
    positive: Annotated[str, BeforeValidator(_as_text)] | None = Field(
        None, description="Class whose F1 is the metric f1, for two classes; default: the second label"
    )

    @property
    def task_type(self) -> TaskTypeName:
        """The task type that the recipe gives, or the one of the metric."""
        return self.type or type_for_metric(self.metric)

    @model_validator(mode="before")
    @classmethod
    def _default_metric(cls, given: object) -> object:
        if isinstance(given, dict) and "metric" not in given and given.get("type") in get_args(TaskTypeName):
            return {**given, "metric": task_type(given["type"]).default_metric}
        return given

    @model_validator(mode="after")
    def _columns_and_labels(self) -> Self:
        columns = [*self.text, self.label]
        if len(set(columns)) < len(columns):
            raise ValueError(f"got the columns {', '.join(columns)} as text and label; expected different columns")
        expected = task_type(self.task_type)
        if self.metric not in expected.metrics:
            raise ValueError(
                f"type is {expected.name}, but the metric {self.metric} is for {type_for_metric(self.metric)}; "
                f"expected {', '.join(expected.metrics)}, or another type"
            )
        if self.labels is not None and not expected.has_classes:
            raise ValueError(
                f"labels lists classes, but the metric {self.metric} compares numbers; leave out one of the two"
            )
        if self.labels is not None and len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels lists a class twice: {', '.join(self.labels)}")
        if self.positive is not None:
            self._check_positive(self.positive)
        return self

    def _check_positive(self, name: str) -> None:
        """Raise ValueError if the metric has no positive class, or if `name` is none of the labels given."""
        if self.metric != "f1":
            labels = f" of the labels {', '.join(self.labels)}" if self.labels else ""
            raise ValueError(
                f"positive is {name}{labels}, but the metric is {self.metric}; expected metric: f1, or no positive"
            )
        if self.labels is not None:
            try:
                positive_class(self.metric, name, self.labels)
            except UserError as error:
                raise ValueError(str(error)) from error
