"""Recipe sections about the models: the teacher, and the student with its vocabulary."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bench.timing.limits import MOST_MB, MOST_MS, MOST_THREADS
from compress.models.architectures import Architecture
from compress.models.compatibility import Activation, Initialisation
from compress.models.shape import PRESETS, StudentShape
from pocketbert.recipe.training import (
    AUTO,
    MOST_HEADS,
    MOST_TOKENS,
    FineTuneSection,
    QuantisedVariant,
    RecipeSection,
    Share,
)

AutoFineTune = Annotated[FineTuneSection, BeforeValidator(lambda value: {} if value == AUTO else value)]
MOST_LAYERS, MOST_WIDTH, MOST_TOKEN_TYPES = 256, 16_384, 10_000_000
MOST_PARAMETERS = 1_000_000_000  # of a student's layers
if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[tuple(PRESETS)]


class TeacherSection(RecipeSection):
    """The teacher: a `base` to fine-tune, a fine-tuned `model`, or both.

    With both, general distillation uses the base, and all other stages use the model.
    """

    base: str | None = Field(
        None, description="Checkpoint to fine-tune on the task: a folder, a Hub name or package:NAME/DIR"
    )
    model: str | None = Field(
        None, description="Classifier that is already fine-tuned on the task: a folder, a Hub name or package:NAME/DIR"
    )
    fine_tune: AutoFineTune = Field(
        FineTuneSection(),
        description="Fine-tuning of the base; without effect if there is a model; auto: keys are chosen from the data",
    )

    @property
    def needs_search(self) -> bool:
        """Whether the search stage must choose the learning rate or the batch size of fine-tuning."""
        return self.model is None and self.fine_tune.search is not None

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.base is None and self.model is None:
            raise ValueError("name teacher.base (a checkpoint to fine-tune), teacher.model (a fine-tuned one), or both")
        return self


class VocabularySection(RecipeSection):
    """Vocabulary pruning before the prediction stage, by `size` or by `coverage`.

    Special tokens and single characters are always kept. Tokens of the task's train texts come first, then the most
    frequent tokens of distill.general.corpus.
    """

    size: Annotated[int, Field(ge=10, le=MOST_TOKEN_TYPES)] | None = Field(
        None, description="Largest number of tokens to keep"
    )
    coverage: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Share of the corpus that the kept tokens must cover; all tokens of the train texts are kept too",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.size is None) == (self.coverage is None):
            raise ValueError("give either size or coverage")
        return self


class BudgetSection(RecipeSection):
    """The budget of a student. When a run starts, it chooses the shape that fits on this machine."""

    latency_ms: Annotated[float, Field(gt=0, le=MOST_MS)] = Field(
        description="Milliseconds that the model may take for one text, without its tokenizer"
    )
    size_mb: Annotated[float, Field(gt=0, le=MOST_MB)] | None = Field(
        None, description="Megabytes of model and tokenizer; default: any"
    )
    tokens: Annotated[int, Field(ge=4, le=MOST_TOKENS)] | None = Field(
        None, description="Tokens of the text; default: task.max_length"
    )
    threads: Annotated[int, Field(gt=0, le=MOST_THREADS)] | None = Field(
        None, description="Threads of the model; default: all usable cores"
    )
    variant: QuantisedVariant = Field("int8-static", description="Variant whose latency and size count")


class StudentSection(RecipeSection):
    """The student: its shape, by preset or by four numbers, and its initialisation."""

    preset: PresetName | None = Field(
        None,
        description="Shape by name: tinybert4 is 4 layers x 312 (feed-forward 1200), tinybert4-384 4 x 384 (1536), "
        "tinybert6 6 x 768 (3072), each with 12 heads; fast4 is 4 x 320 (1152) with 5 heads, fast3 3 x 384 (1152) with "
        "6 heads, which processors compute faster",
    )
    layers: Annotated[int, Field(gt=0, le=MOST_LAYERS)] | None = Field(None, description="Number of transformer layers")
    width: Annotated[int, Field(gt=0, le=MOST_WIDTH)] | None = Field(
        None, description="Hidden width, a multiple of heads"
    )
    ffn_width: Annotated[int, Field(gt=0, le=4 * MOST_WIDTH)] | None = Field(
        None, description="Width of the feed-forward layers"
    )
    heads: Annotated[int, Field(gt=0, le=MOST_HEADS)] | None = Field(
        None,
        description="Number of attention heads; with as many as the teacher has, attention is matched head by head",
    )
    budget: BudgetSection | None = Field(
        None,
        description="Latency and size that the student may have, instead of a shape; a run then chooses the shape, as "
        "`pocketbert design` does",
    )
    architecture: Architecture = Field(
        "bert", description="Architecture of the student, which has the tokenizer of the teacher in either case"
    )
    activation: Activation | None = Field(
        None,
        description="Activation function of the feed-forward layers; relu is faster, gelu more accurate; default: the "
        "teacher's, or gelu if the first weights are random",
    )
    dropout: Share = Field(
        0.0, description="Dropout probability in training; in our measurements students learned better without"
    )
    initialisation: Initialisation = Field(
        "projected",
        description="Source of the first weights: the teacher's weights projected to the student's shape, random "
        "numbers, copied teacher layers, or a checkpoint",
    )
    vocabulary: VocabularySection | None = Field(
        None, description="Vocabulary pruning, since most of a small student is its embedding; default: none"
    )
    checkpoint: str | None = Field(
        None, description="Student to start from, a folder or a Hub name; needs initialisation: checkpoint"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        numbers = [self.layers, self.width, self.ffn_width, self.heads]
        if self.budget is not None and self.preset is not None:
            raise ValueError("give either a budget or a preset; not both")
        if self.budget is not None and self.initialisation not in ("projected", "random"):
            raise ValueError(f"a budget needs initialisation: projected or random; got {self.initialisation}")
        if self.needs_design:
            return self
        if self.preset is not None and any(number is not None for number in numbers):
            raise ValueError("give either preset, or layers, width, ffn_width and heads; not both")
        if self.preset is None and any(number is None for number in numbers):
            raise ValueError("give a preset, all four of layers, width, ffn_width and heads, or a budget")
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if num_parameters(self.shape) > MOST_PARAMETERS:
            raise ValueError(
                f"the student's layers have {num_parameters(self.shape):,} parameters; expected at most "
                f"{MOST_PARAMETERS:,}; lower layers, width or ffn_width"
            )
        if self.activation is not None and self.initialisation == "checkpoint":
            raise ValueError("a checkpoint has its activation; leave the key activation out")
        if (self.initialisation == "checkpoint") != (self.checkpoint is not None):
            raise ValueError("set both initialisation: checkpoint and the key checkpoint, or neither")
        return self

    @property
    def needs_design(self) -> bool:
        """Whether there is a budget, for which no shape has been chosen yet."""
        return self.budget is not None and all(
            number is None for number in (self.layers, self.width, self.ffn_width, self.heads)
        )

    @property
    def shape(self) -> StudentShape:
        """The shape of the preset, or the four numbers. A budget must have been replaced by its shape."""
        if self.preset is not None:
            return PRESETS[self.preset]
        assert self.layers and self.width and self.ffn_width and self.heads
        return StudentShape(layers=self.layers, width=self.width, ffn_width=self.ffn_width, heads=self.heads)


def num_parameters(shape: StudentShape) -> int:
    """The weights of the layers' matrices, without biases and embeddings."""
    return shape.layers * (4 * shape.width**2 + 2 * shape.width * shape.ffn_width)
