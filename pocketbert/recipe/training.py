"""Recipe sections about training: the stages with their schedules, losses and corpora, and how they compute."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from compress.common.wording import shorten
from compress.models import compatibility, shape
from compress.models.precision import Precision


class RecipeSection(BaseModel):
    """A part of a recipe. Unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


MOST_STEPS = 10**9  # a training of years
MOST_EPOCHS, MOST_BATCH, MOST_TOKENS, MOST_TEXTS = 10_000, 65_536, 65_536, 10**10
MOST_HEADS, MOST_SEARCHED, LARGEST_WEIGHT = 1024, 100, 1e6
Seed = Annotated[int, Field(ge=0, lt=2**32)]
NumSteps = Annotated[int, Field(gt=0, le=MOST_STEPS)]
NumEpochs = Annotated[int, Field(gt=0, le=MOST_EPOCHS)]
NumExamples = Annotated[int, Field(gt=0, le=MOST_BATCH)]
NumTexts = Annotated[int, Field(gt=0, le=MOST_TEXTS)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[
    list[str],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST_WEIGHT


def _layer_weights(value: object) -> object:
    if _is_number(value) or (isinstance(value, list) and value and all(map(_is_number, value))):
        return value
    raise ValueError(
        f"got {shorten(repr(value))}; expected a number from 0 to {LARGEST_WEIGHT:,.0f}, or a list with one for each "
        "student layer"
    )


def _layer_map(value: object) -> object:
    if value in get_args(shape.LayerMapRule):
        return value
    if isinstance(value, list) and value and all(type(layer) is int and layer > 0 for layer in value):
        return value
    rules = ", ".join(get_args(shape.LayerMapRule))
    raise ValueError(f"got {shorten(repr(value))}; expected {rules}, or a list of teacher layers, counted from 1")


def _unchanged(value: object) -> object:
    """The value itself: pydantic's own serializer warns of whole numbers in a list of numbers."""
    return value


_WEIGHT_SCHEMA = {"type": "number", "minimum": 0, "maximum": LARGEST_WEIGHT}
LayerWeights = Annotated[
    compatibility.LayerWeights,
    PlainValidator(_layer_weights),
    PlainSerializer(_unchanged),
    WithJsonSchema({"anyOf": [_WEIGHT_SCHEMA, {"type": "array", "items": _WEIGHT_SCHEMA}]}),
]
LayerMap = Annotated[
    shape.LayerMap,
    PlainValidator(_layer_map),
    PlainSerializer(_unchanged),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(get_args(shape.LayerMapRule))},
                {"type": "array", "items": {"type": "integer", "minimum": 1}},
            ]
        }
    ),
]
AUTO = "auto"
_AUTO_IS_NONE = (
    BeforeValidator(lambda value: None if value == AUTO else value),
    PlainSerializer(lambda value: AUTO if value is None else value),
)
Rate = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[
    NumEpochs | None,
    *_AUTO_IS_NONE,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_EPOCHS}, {"const": AUTO}]}),
    Field(description="Passes over the data; auto: from the numbers of rows and classes"),
]
EpochsOrNone = Annotated[
    Annotated[int, Field(ge=0, le=MOST_EPOCHS)] | None,
    *_AUTO_IS_NONE,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": MOST_EPOCHS}, {"const": AUTO}]}),
    Field(
        description="Passes over the data; auto: from the numbers of rows and classes; 0: no step, so that the "
        "prediction stage starts from the student's first weights"
    ),
]
BatchSize = Annotated[
    NumExamples | None,
    *_AUTO_IS_NONE,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_BATCH}, {"const": AUTO}]}),
    Field(description="Examples per optimiser step, over all processes; auto: from the number of rows"),
]
LearningRate = Annotated[
    Rate | None,
    *_AUTO_IS_NONE,
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, {"const": AUTO}]}),
    Field(
        description="Peak of the learning rate, which it reaches at the end of the warm-up; auto: by a search for the "
        "teacher, from the student's width for the student"
    ),
]
QuantisedVariant = Literal["int8-static", "int4-static"]
LossWeight = Annotated[float, Field(ge=0, le=LARGEST_WEIGHT)]
Share = Annotated[float, Field(ge=0, le=1)]


class StageSection(RecipeSection):
    """The schedule of one training stage. `auto`: chosen from the data and the models when a run starts."""

    epochs: Epochs = None
    batch_size: BatchSize = 32
    micro_batch_size: NumExamples | None = Field(
        None,
        description="Examples that a process computes at once; lower it if memory runs out, the result stays the "
        "same; default: the whole batch",
    )
    learning_rate: LearningRate = None
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Share of the steps in which the learning rate rises to its peak"
    )
    decay: Literal["linear", "constant_with_warmup", "cosine", "after_plateau"] = Field(
        "linear",
        description="Schedule of the learning rate after the warm-up; after_plateau: constant until the loss is flat, "
        "then linear, so that the stage may end before its last epoch",
    )
    max_steps: NumSteps | None = Field(
        None, description="Largest number of optimiser steps; the stage may then end before its last epoch"
    )
    checkpoint_steps: NumSteps = Field(
        200, description="Optimiser steps between checkpoints, from which an interrupted stage continues"
    )


class SearchSection(RecipeSection):
    """Successive halving: short trainings with each value, longer ones with the better half. The best one is kept."""

    learning_rate: Annotated[list[Rate], Field(min_length=1, max_length=MOST_SEARCHED)] | None = Field(
        None, description="Learning rates to try; default: from the width of the model"
    )
    batch_size: Annotated[list[NumExamples], Field(min_length=1, max_length=MOST_SEARCHED)] | None = Field(
        None, description="Batch sizes to try; default: the stage's own"
    )


class SearchableSection(StageSection):
    """A stage that is scored on dev, so that values can be searched and training can stop early."""

    patience: NumEpochs | None = Field(
        None, description="Epochs without a better dev score after which the stage stops; default: train all epochs"
    )
    search: SearchSection | None = Field(
        None, description="Values to search; default: none, or learning rates if a teacher's rate is auto"
    )


class FineTuneSection(SearchableSection):
    """Fine-tuning of the base on the task, which makes the teacher. `auto` stands for a section without keys."""

    batch_size: BatchSize = None


class LayerWiseSection(StageSection):
    """A stage that compares layers, with the weight of each loss."""

    embedding: LossWeight = Field(1.0, description="Weight of the embedding loss")
    hidden: LayerWeights = Field(
        1.0, description="Weight of the hidden-state loss: one for all student layers, or a list with one per layer"
    )
    attention: LayerWeights | None = Field(
        None,
        description="Weight of the attention loss, or a list with one per student layer; a weight above 0 needs a "
        "student with as many heads as the teacher; default: 1 for such a student (0.02 if the teacher is an MPNet, "
        "whose scores are large), 0 for others",
    )
    relations: LayerWeights | None = Field(
        None,
        description="Weight of MiniLMv2's loss on the relations of queries, keys and values, or a list with one per "
        "student layer; it works with any numbers of heads; default: 1 if they differ and attention has no weight, "
        "otherwise 0",
    )
    relation_heads: Annotated[int, Field(gt=0, le=MOST_HEADS)] | None = Field(
        None,
        description="Relation heads, a divisor of both models' widths; default: the largest common divisor up to 48",
    )

    @model_validator(mode="after")
    def _matches_something(self) -> Self:
        layer_wise = [key for key in (self.hidden, self.attention, self.relations) if key is not None]
        if self.attention is not None and not self.embedding and not any(any(weights_in(key)) for key in layer_wise):
            raise ValueError(
                "the weights embedding, hidden, attention and relations are all 0, so the stage has no loss; set one "
                "above 0"
            )
        return self


def weights_in(weights: compatibility.LayerWeights) -> Sequence[float]:
    """The weights of a key that holds one or several."""
    return [weights] if isinstance(weights, float | int) else weights


class CorpusSection(RecipeSection):
    """A stage that reads running text. `key`: the path of the section in a recipe."""

    key: ClassVar[str]
    corpus: Names = Field(
        description="Sources of running text: files or folders (.txt, .jsonl), builtin:NAME, `task` for the train "
        "texts, or Hub data sets read as a stream (hub:OWNER/NAME or hub:OWNER/NAME:SUBSET)"
    )
    text: str = Field("text", description="Text column of Hub data sets")
    max_texts: NumTexts | None = Field(None, description="Largest number of texts to read; default: all")


class GeneralSection(CorpusSection, LayerWiseSection):
    """General distillation: the student learns the layers of the base on running text."""

    key = "distill.general"
    epochs: Epochs = 3
    batch_size: BatchSize = 64
    max_length: Annotated[int, Field(ge=4, le=MOST_TOKENS)] = Field(
        128, description="Tokens per block, special tokens included; a longer text fills several blocks"
    )


class IntermediateSection(LayerWiseSection):
    """First step of task distillation: the student learns the layers of the fine-tuned teacher on the task's texts."""

    epochs: EpochsOrNone = None


class PredictionSection(SearchableSection):
    """Last step of task distillation: the student learns the teacher's logits."""

    temperature: Annotated[float, Field(gt=0, le=LARGEST_WEIGHT)] = Field(
        1.0, description="Divisor of both models' logits in the loss"
    )
    label_weight: Share = Field(
        0.0,
        description="Share of the loss that learns the labels of the table instead of the teacher's logits (Hinton "
        "2015); 1: the labels only",
    )
    quantisation: QuantisedVariant | None = Field(
        None,
        description="Static variant whose rounding the student computes with in this stage (quantisation-aware "
        "training), so that this variant loses less accuracy; default: none",
    )


class DistillSection(RecipeSection):
    """The stages of distillation. Without `general`, the student starts from the fine-tuned teacher."""

    seed: Seed | None = Field(
        None,
        description="Seed of task distillation, for several students of one teacher on the same rows; default: seed",
    )
    layer_map: LayerMap = Field(
        "uniform",
        description="Teacher layer for each student layer: evenly spaced (uniform), the last ones (top), the first "
        "ones (bottom), or a list of layers counted from 1",
    )
    projection: Literal["shared", "per_layer"] = Field(
        "shared", description="Projection of hidden states to the teacher's width: one for all layers, or one per layer"
    )
    general: GeneralSection | None = Field(
        None, description="General distillation on running text, before the task; default: none"
    )
    intermediate: IntermediateSection = Field(
        IntermediateSection(), description="First step of task distillation, on the teacher's layers"
    )
    prediction: PredictionSection = Field(
        PredictionSection(), description="Last step of task distillation, on the teacher's logits"
    )


class ComputeSection(RecipeSection):
    """How all training stages compute."""

    precision: Precision = Field(
        "auto",
        description="Precision of matrix products; auto: bf16 if the machine supports it, else fp16 on a GPU and fp32 "
        "on a CPU",
    )
    compile: bool = Field(
        False,
        description="Compile the training step with torch.compile, which takes minutes; measure the gain with "
        "`pocketbert bench training --compile`",
    )
