"""The recipe's keys of training: how each stage runs, what it matches, and how all of them compute."""

from itertools import product
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

Weight = Annotated[float, Field(ge=0)]


class RecipeSection(BaseModel):
    """A part of the recipe: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[
    list[str],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _layer_weights(value: object) -> object:
    if _is_number(value) or (isinstance(value, list) and value and all(map(_is_number, value))):
        return value
    raise ValueError(f"got {value!r}; expected a number, 0 or more, or a list of one for each student layer")


def _layer_map(value: object) -> object:
    if value in ("uniform", "top", "bottom"):
        return value
    if isinstance(value, list) and value and all(type(layer) is int and layer > 0 for layer in value):
        return value
    raise ValueError(f"got {value!r}; expected uniform, top, bottom, or a list of teacher layers, counted from 1")


LayerWeights = Annotated[
    float | list[float],
    PlainValidator(_layer_weights),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "array", "items": {"type": "number", "minimum": 0}}]}
    ),
]
LayerMap = Annotated[
    Literal["uniform", "top", "bottom"] | list[int],
    PlainValidator(_layer_map),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["uniform", "top", "bottom"]},
                {"type": "array", "items": {"type": "integer", "minimum": 1}},
            ]
        }
    ),
]


class StageSection(RecipeSection):
    """How one training stage runs."""

    epochs: PositiveInt = Field(description="Passes over the data")
    batch_size: PositiveInt = Field(32, description="Examples of an optimiser step, over all processes")
    micro_batch_size: PositiveInt | None = Field(
        None, description="Examples that a process takes at once, where memory is short; the result stays the same"
    )
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = Field(description="At its highest, after the warm-up")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="Share of the steps in which the rate rises")
    decay: Literal["linear", "constant_with_warmup", "cosine"] = Field("linear", description="How the rate falls")
    max_steps: PositiveInt | None = Field(None, description="Cuts the epochs short")
    checkpoint_steps: PositiveInt = Field(200, description="Optimiser steps between checkpoints")


class FineTuneSection(StageSection):
    """Fine-tuning of the teacher from its base."""

    epochs: PositiveInt = 3
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 3e-5


class LayerWiseSection(StageSection):
    """A stage that matches layers, and the weight of each loss: one for all layers, or a list of one for each."""

    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-5
    embedding: Weight = Field(1.0, description="Weight of the embedding loss")
    hidden: LayerWeights = Field(1.0, description="Weight of the hidden-state loss")
    attention: LayerWeights = Field(1.0, description="Weight of the attention loss, which needs equal numbers of heads")
    relations: LayerWeights = Field(
        0.0, description="Weight of the relations of queries, keys and values (MiniLMv2): for unlike numbers of heads"
    )
    relation_heads: PositiveInt | None = Field(
        None, description="Parts that relations cut queries, keys and values into; default: up to 48 that divide both"
    )

    @model_validator(mode="after")
    def _matches_something(self) -> Self:
        if not (self.embedding or any(any(weights_in(key)) for key in (self.hidden, self.attention, self.relations))):
            raise ValueError(
                "the weights embedding, hidden, attention and relations are all 0: the stage would match nothing"
            )
        return self


def weights_in(weights: float | list[float]) -> list[float]:
    """The weights of a key that holds one or several."""
    return weights if isinstance(weights, list) else [weights]


class CorpusSection(RecipeSection):
    """Running text. `key`: where in a recipe the section stands."""

    key: ClassVar[str]
    corpus: Names = Field(
        description="Files or folders (.txt, .jsonl), builtin:NAME, `task` (the train texts), or a data set of the "
        "Hub, read as a stream: hub:OWNER/NAME or hub:OWNER/NAME:SUBSET"
    )
    text: str = Field("text", description="The text column of data sets from the Hub")
    max_texts: PositiveInt | None = Field(None, description="Texts to read at most: for trials")


class GeneralSection(CorpusSection, LayerWiseSection):
    """General distillation: the teacher's base on running text."""

    key = "distill.general"
    epochs: PositiveInt = 3
    batch_size: PositiveInt = 64
    max_length: Annotated[int, Field(ge=4)] = Field(
        128, description="Tokens of a block; longer texts go on in further blocks"
    )


class IntermediateSection(LayerWiseSection):
    """Task distillation, first step: the fine-tuned teacher's layers on the task's texts."""

    epochs: PositiveInt = 20


class SearchSection(RecipeSection):
    """The grid that the paper searches for the prediction stage; the best on dev is kept."""

    learning_rate: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)] = [1e-5, 2e-5, 3e-5]
    batch_size: Annotated[list[PositiveInt], Field(min_length=1)] = [16, 32]


class PredictionSection(StageSection):
    """Task distillation, second step: the teacher's logits."""

    epochs: PositiveInt = 3
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 3e-5
    temperature: PositiveFloat = Field(1.0, description="Divides both models' logits")
    search: SearchSection | None = Field(
        None, description="Try every pair of these rates and batch sizes, and keep the best on dev"
    )

    @property
    def points(self) -> "list[PredictionSection]":
        """The section as it stands, or at each point of its search."""
        if self.search is None:
            return [self]
        grid = product(self.search.learning_rate, self.search.batch_size)
        return [self.model_copy(update={"learning_rate": rate, "batch_size": size}) for rate, size in grid]


class DistillSection(RecipeSection):
    """The stages of distillation; without `general` the student starts from the fine-tuned teacher."""

    layer_map: LayerMap = Field("uniform", description="Which teacher layer each student layer learns from")
    projection: Literal["shared", "per_layer"] = Field(
        "shared", description="One projection to the teacher's width for all layers, or one for each"
    )
    general: GeneralSection | None = None
    intermediate: IntermediateSection = IntermediateSection()
    prediction: PredictionSection = PredictionSection()


class TrainingSection(RecipeSection):
    """How all training stages compute."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Of matrix products; auto: bf16 where the machine has it, else fp16 on a GPU and fp32 on a CPU",
    )
    compile: bool = Field(
        False,
        description="Through torch.compile: minutes of compiling first; `bench-training --compile` tells the gain",
    )
