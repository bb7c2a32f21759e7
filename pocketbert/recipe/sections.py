"""The recipe: everything a run needs, as typed and strict sections. `reading` makes one from a YAML file."""

from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from bench.timing.systems import GRID_BATCH_LENGTH, GRID_LENGTHS, Shape
from compress.common.errors import UserError
from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName, task_type, type_for_metric
from compress.models.shape import PRESETS, StudentShape
from export.quantisation.variants import DEFAULT_VARIANTS, VARIANTS
from pocketbert.recipe.augmentation import AugmentSection
from pocketbert.recipe.training import DistillSection, FineTuneSection, Names, RecipeSection, TrainingSection

if TYPE_CHECKING:
    VariantName = str
else:
    VariantName = Literal[tuple(VARIANTS)]
Share = Annotated[float, Field(ge=0, le=1)]


def _without_default(schema: dict[str, JsonValue]) -> None:
    """Where the default depends on another key, an editor must not fill it in."""
    schema.pop("default")


class TaskSection(RecipeSection):
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
    type: TaskTypeName | None = Field(
        None, description="What the label column holds: classes or numbers; default: what the metric compares"
    )
    metric: Metric = Field(
        "accuracy",
        description="What is reported and chosen by; default: accuracy, with type: regression pearson_spearman (their "
        "mean)",
        json_schema_extra=_without_default,
    )

    @property
    def task_type(self) -> TaskTypeName:
        """The task type, as named or by the metric."""
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
            raise ValueError(f"text and label name the columns {', '.join(columns)}; expected different ones")
        kind = task_type(self.task_type)
        if self.metric not in kind.metrics:
            raise ValueError(
                f"type is {kind.name}, and the metric {self.metric} is of a {type_for_metric(self.metric)}; expected "
                f"{', '.join(kind.metrics)}, or another type"
            )
        if self.labels is not None and not kind.has_classes:
            raise ValueError(
                f"labels names classes, and the metric {self.metric} compares numbers; leave one of them out"
            )
        if self.labels is not None and len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels names a class twice: {', '.join(self.labels)}")
        return self


class TeacherSection(RecipeSection):
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


class VocabularySection(RecipeSection):
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


class StudentSection(RecipeSection):
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

    @property
    def shape(self) -> StudentShape:
        """The four numbers, of the preset or as given."""
        if self.preset is not None:
            return PRESETS[self.preset]
        assert self.layers and self.width and self.ffn_width and self.heads
        return StudentShape(layers=self.layers, width=self.width, ffn_width=self.ffn_width, heads=self.heads)


class ToleranceSection(RecipeSection):
    """How far a variant may be from the torch student on dev and still ship."""

    logit_error: Annotated[float, Field(ge=0)] | None = Field(None, description="Mean error / spread of the logits")
    label_flips: Share | None = Field(None, description="Share of rows whose label changes")


class ExportSection(RecipeSection):
    """The variants to build."""

    variants: Annotated[list[VariantName], Field(min_length=1)] = Field(
        list(DEFAULT_VARIANTS), description="What to build"
    )
    tolerance: dict[VariantName, ToleranceSection] = Field(
        {}, description="Where the default limits do not suit, by variant"
    )
    calibration_rows: Annotated[int, Field(ge=8)] = Field(
        256,
        description="Train rows from which static variants take the ranges of their activations, of each class as many",
    )
    range_share: Annotated[float, Field(gt=0.9, le=1)] = Field(
        1.0, description="Share of the activations' values that lie inside their range; 1: all (min-max)"
    )
    reduce_range: bool = Field(
        False, description="int8 weights in 7 bits: their products saturate on no processor, whatever runs them"
    )

    teacher_variants: list[VariantName] = Field(
        ["fp32", "int8-static"],
        description="The teacher too, as these: what the benchmark holds the student against; they are not shipped",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError(f"variants names one twice: {', '.join(self.variants)}")
        return self


class BenchSection(RecipeSection):
    """How much is measured."""

    threads: PositiveInt | None = Field(
        None, description="Thread budget of every contender; default: all usable cores / processes"
    )
    rounds: Annotated[int, Field(ge=2)] = Field(12, description="Each round times every model once, in random order")
    warm_up_s: PositiveFloat = Field(5.0, description="Seconds of warm-up at most, of each model at each length")
    compiled_teacher: bool = Field(True, description="Hold the student also against the teacher under torch.compile")
    restart_every: PositiveInt = Field(2, description="Rounds after which every model goes on in a new process")
    limits: bool = Field(True, description="Also how near bundles come to this machine's limits, and time by operator")
    thread_sweep: bool = Field(False, description="Also with 1 thread, 2, one a physical core, up to `threads`")
    latency_bound_ms: PositiveFloat | None = Field(
        None, description="Also under load: texts a second at which 99 of 100 answers come within this; null: not"
    )
    processes: PositiveInt = Field(1, description="Processes that serve a model under load, of `threads` each")
    fixed_lengths: list[PositiveInt] | None = Field(
        None, description="Token counts of the grid at batch 1; default: 16, 32, 64, 128, up to task.max_length"
    )
    fixed_batches: list[Annotated[int, Field(ge=2)]] = Field(
        [16], description="Batch sizes of the grid, each timed on texts of 32 tokens"
    )


class GateSection(RecipeSection):
    """What a variant must reach to be shipped, on dev; and which must, or the command ends with exit code 3."""

    require: list[VariantName] = Field([], description="Variants that must be good enough")
    student_share: Share | None = Field(0.99, description="Share of the torch student's metric to keep")
    teacher_share: Share | None = Field(None, description="Share of the teacher's metric to keep")
    batch_shift: Share | None = Field(
        None, description="Largest change of a probability by other texts in the batch or by padding; 1e-5: none"
    )
    size_mb: PositiveFloat | None = Field(None, description="The whole bundle, in decimal megabytes")
    latency_ms: PositiveFloat | None = Field(None, description="Median from text to label, here, at batch 1")


class Recipe(RecipeSection):
    """One run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Names the run folder, runs/NAME: letters, digits, dots, dashes and underscores"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="Everything random depends on it")
    smoke: bool = Field(False, description="Shrink all stages to a few steps: shows that it runs, and nothing else")
    task: TaskSection
    teacher: TeacherSection
    student: StudentSection
    augment: AugmentSection | None = None
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


def grid_of(recipe: Recipe) -> list[Shape]:
    """The shapes on which the benchmark times the model alone."""
    lengths = grid_lengths(recipe)
    in_batches = [(size, min(GRID_BATCH_LENGTH, max(lengths))) for size in recipe.bench.fixed_batches if lengths]
    return list(dict.fromkeys([*((1, length) for length in lengths), *in_batches]))


def augmentation_of(recipe: Recipe) -> AugmentSection:
    """The recipe's augmentation. Raises UserError where it has none."""
    if recipe.augment is None:
        raise UserError(
            f"{recipe.name}: augment is missing; add the section to the recipe, `augment: {{}}` at the least"
        )
    return recipe.augment


def masked_lm_of(recipe: Recipe) -> str:
    """The masked language model that the recipe names, or the teacher."""
    assert recipe.augment is not None
    return recipe.augment.masked_lm.model or recipe.teacher.base or recipe.teacher.model or ""
