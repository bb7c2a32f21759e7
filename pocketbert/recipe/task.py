"""The recipe section about the labelled data and the metric."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, JsonValue, model_validator

from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName, task_type, type_for_metric
from pocketbert.recipe.training import Names, RecipeSection


def _without_default(schema: dict[str, JsonValue]) -> None:
    """Remove a default that depends on another key, so that editors do not fill it in."""
    schema.pop("default")


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
    max_length: Annotated[int, Field(ge=4)] = Field(
        128, description="Tokens per row, special tokens included; longer texts are truncated"
    )
    max_rows: Annotated[int, Field(ge=10)] | None = Field(
        None, description="Largest number of rows per split, sampled at random, for trials; default: all"
    )
    type: TaskTypeName | None = Field(
        None, description="Task type; default: regression for the metric pearson_spearman, else classification"
    )
    metric: Metric = Field(
        "accuracy",
        description="Metric of the report, which also selects checkpoints; default: accuracy, or for type: regression "
        "pearson_spearman (the mean of both correlations)",
        json_schema_extra=_without_default,
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
        return self
