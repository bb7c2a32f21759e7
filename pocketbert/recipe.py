"""The recipe: everything a run needs, as typed and strict sections. `reading` makes one from a YAML file."""

from itertools import product
from typing import Annotated, Literal, Self

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

from compress.metrics import Metric, is_regression

Variant = Literal["fp32", "int8-dynamic"]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
GRID_LENGTHS = (16, 32, 64, 128)


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


class Section(BaseModel):
    """A part of the recipe: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TaskSection(Section):
    """The labelled data."""

    data: str = Field(description="A local file, a folder with train/dev/test files, a Hub name, or builtin:NAME")
    subset: str | None = Field(None, description="Configuration name on the Hub, such as sst2 of nyu-mll/glue")
    splits: dict[Literal["train", "dev", "test"], str] = Field(
        {}, description="What a split is called: a file of the folder, or a split's name on the Hub"
    )
    text: Annotated[Names, Field(max_length=2)] = Field(["text"], description="One or two text columns")
    label: str = Field("label", description="The label column: names or integers")
    labels: list[str] | None = Field(None, description="Class names; for integer labels in the order of the integers")
    encoding: str = Field("utf-8", description="Text encoding of local files")
    max_length: Annotated[int, Field(ge=4)] = Field(128, description="Tokens; longer texts are cut")
    max_rows: Annotated[int, Field(ge=10)] | None = Field(
        None, description="Rows of each split at most, drawn by the seed: for trials"
    )
    metric: Metric = Field(
        "accuracy", description="What is reported and chosen by; pearson_spearman, their mean, makes it a regression"
    )

    @model_validator(mode="after")
    def _columns_and_labels(self) -> Self:
        columns = [*self.text, self.label]
        if len(set(columns)) < len(columns):
            raise ValueError(f"text and label name the columns {', '.join(columns)}; expected different ones")
        if self.labels is not None and is_regression(self.metric):
            raise ValueError(
                f"labels names classes, and the metric {self.metric} compares numbers; leave one of them out"
            )
        if self.labels is not None and len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels names a class twice: {', '.join(self.labels)}")
        return self


class StageSection(Section):
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


class TeacherSection(Section):
    """`base`: not fine-tuned; `model`: fine-tuned on the task. One of them is enough."""

    base: str | None = Field(
        None, description="Checkpoint that was not fine-tuned: folder, Hub name or package:NAME/DIR"
    )
    model: str | None = Field(
        None, description="Classifier fine-tuned on the task: folder, Hub name or package:NAME/DIR"
    )
    fine_tune: FineTuneSection = Field(FineTuneSection(), description="How the base is fine-tuned, without a model")

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.base is None and self.model is None:
            raise ValueError("name teacher.base (a checkpoint to fine-tune), teacher.model (a fine-tuned one), or both")
        return self


class VocabularySection(Section):
    """How far the vocabulary is cut, before the prediction stage; special pieces and single characters always stay.

    The pieces that the task's train texts use go first, then those that distill.general.corpus uses most.
    """

    size: Annotated[int, Field(ge=10)] | None = Field(None, description="Pieces to keep at most")
    coverage: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Share of the corpus's tokens to keep as they are, beside all that the task uses"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.size is None) == (self.coverage is None):
            raise ValueError("give either size or coverage")
        return self


class StudentSection(Section):
    """The student's shape, by preset or by its four numbers, and where its first weights come from."""

    preset: Literal["tinybert4", "tinybert4-384", "tinybert6"] | None = Field(
        None, description="4 x 312 (feed-forward 1200), 4 x 384 (1536) or 6 x 768 (3072), 12 heads each"
    )
    layers: PositiveInt | None = Field(None, description="Transformer layers")
    width: PositiveInt | None = Field(None, description="Hidden width, a multiple of heads")
    ffn_width: PositiveInt | None = Field(None, description="Width of the feed-forward layers")
    heads: PositiveInt | None = Field(
        None, description="Attention heads; the attention loss needs the teacher's number"
    )
    architecture: Literal["bert", "roberta"] = Field(
        "bert", description="What the student is, whatever the teacher: both know the teacher's tokens"
    )
    dropout: Share = Field(0.0, description="Measured: a student under distillation learns better without")
    initialisation: Literal["projected", "random", "teacher_layers", "checkpoint"] = Field(
        "projected", description="Where the first weights come from"
    )
    vocabulary: VocabularySection | None = Field(
        None, description="Cut the vocabulary: most of a small student is its embedding"
    )
    checkpoint: str | None = Field(None, description="A student folder or Hub name, for initialisation: checkpoint")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        numbers = [self.layers, self.width, self.ffn_width, self.heads]
        if self.preset is not None and any(number is not None for number in numbers):
            raise ValueError("give either preset, or layers, width, ffn_width and heads; not both")
        if self.preset is None and any(number is None for number in numbers):
            raise ValueError("give a preset, or all four of layers, width, ffn_width and heads")
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if (self.initialisation == "checkpoint") != (self.checkpoint is not None):
            raise ValueError("initialisation: checkpoint and the key checkpoint belong together")
        return self


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


class GeneralSection(LayerWiseSection):
    """General distillation: the teacher's base on running text."""

    corpus: Names = Field(
        description="Files or folders (.txt, .jsonl), builtin:NAME, `task` (the train texts), or a data set of the "
        "Hub, read as a stream: hub:OWNER/NAME or hub:OWNER/NAME:SUBSET"
    )
    text: str = Field("text", description="The text column of data sets from the Hub")
    epochs: PositiveInt = 3
    batch_size: PositiveInt = 64
    max_length: Annotated[int, Field(ge=4)] = Field(
        128, description="Tokens of a block; longer texts go on in further blocks"
    )
    max_texts: PositiveInt | None = Field(None, description="Texts to read at most: for trials")


class IntermediateSection(LayerWiseSection):
    """Task distillation, first step: the fine-tuned teacher's layers on the task's texts."""

    epochs: PositiveInt = 20


class SearchSection(Section):
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


class DistillSection(Section):
    """The stages of distillation; without `general` the student starts from the fine-tuned teacher."""

    layer_map: LayerMap = Field("uniform", description="Which teacher layer each student layer learns from")
    projection: Literal["shared", "per_layer"] = Field(
        "shared", description="One projection to the teacher's width for all layers, or one for each"
    )
    general: GeneralSection | None = None
    intermediate: IntermediateSection = IntermediateSection()
    prediction: PredictionSection = PredictionSection()


class TrainingSection(Section):
    """How all training stages compute."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Of matrix products; auto: bf16 where the machine has it, else fp16 on a GPU and fp32 on a CPU",
    )
    compile: bool = Field(
        False,
        description="Through torch.compile: minutes of compiling first; `bench-training --compile` tells the gain",
    )


class ToleranceSection(Section):
    """How far a variant may be from the torch student on dev and still ship."""

    logit_error: Annotated[float, Field(ge=0)] | None = Field(None, description="Mean error / spread of the logits")
    label_flips: Share | None = Field(None, description="Share of rows whose label changes")
    metric_drop: Share | None = Field(None, description="Metric of the torch student less the variant's")


class ExportSection(Section):
    """The variants to build."""

    variants: Annotated[list[Variant], Field(min_length=1)] = ["fp32", "int8-dynamic"]
    tolerance: dict[Variant, ToleranceSection] = Field(
        {}, description="Where the default limits do not suit, by variant"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError(f"variants names one twice: {', '.join(self.variants)}")
        return self


class BenchSection(Section):
    """How much is measured."""

    threads: PositiveInt | None = Field(None, description="Thread budget of every contender; default: all usable cores")
    rounds: Annotated[int, Field(ge=2)] = Field(12, description="Each round times every model once, in random order")
    warm_up_s: PositiveFloat = Field(5.0, description="Seconds of warm-up at most, of each model at each length")
    fixed_lengths: list[PositiveInt] | None = Field(
        None, description="Token counts of the grid at batch 1; default: 16, 32, 64, 128, up to task.max_length"
    )


class GateSection(Section):
    """What must pass, or the command ends with exit code 3."""

    require: list[Variant] = Field([], description="Variants that must be good enough")


class Recipe(Section):
    """One run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Names the run folder, runs/NAME: letters, digits, dots, dashes and underscores"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="Everything random depends on it")
    smoke: bool = Field(False, description="Shrink all stages to a few steps: shows that it runs, and nothing else")
    task: TaskSection
    teacher: TeacherSection
    student: StudentSection
    distill: DistillSection = DistillSection()
    training: TrainingSection = TrainingSection()
    export: ExportSection = ExportSection()
    bench: BenchSection = BenchSection()
    gate: GateSection = GateSection()


def grid_lengths(recipe: Recipe) -> list[int]:
    """The token counts of the benchmark's grid, as named or by default."""
    if recipe.bench.fixed_lengths is not None:
        return recipe.bench.fixed_lengths
    return [length for length in GRID_LENGTHS if length <= recipe.task.max_length]
