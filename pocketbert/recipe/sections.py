"""The recipe: all settings of a run as typed sections. `loading` makes one from a YAML file."""

from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from bench.timing.systems import GRID_BATCH_LENGTH, GRID_LENGTHS, Shape
from compress.common.errors import UserError
from compress.data.metrics import Metric
from compress.data.task_types import TaskTypeName, task_type, type_for_metric
from compress.models.architectures import Architecture
from compress.models.compatibility import Initialisation
from compress.models.shape import PRESETS, StudentShape
from export.quantisation.variants import DEFAULT_VARIANTS, VARIANTS
from pocketbert.recipe.augmentation import AugmentSection
from pocketbert.recipe.training import ComputeSection, DistillSection, FineTuneSection, Names, RecipeSection

if TYPE_CHECKING:
    VariantName = str
    PresetName = str
else:
    VariantName = Literal[tuple(VARIANTS)]
    PresetName = Literal[tuple(PRESETS)]
Share = Annotated[float, Field(ge=0, le=1)]


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
    fine_tune: FineTuneSection = Field(
        FineTuneSection(), description="Fine-tuning of the base; without effect if there is a model"
    )

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

    size: Annotated[int, Field(ge=10)] | None = Field(None, description="Largest number of tokens to keep")
    coverage: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Share of the corpus that the kept tokens must cover; all tokens of the train texts are kept too",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.size is None) == (self.coverage is None):
            raise ValueError("give either size or coverage")
        return self


class StudentSection(RecipeSection):
    """The student: its shape, by preset or by four numbers, and its initialisation."""

    preset: PresetName | None = Field(
        None,
        description="Shape by name: tinybert4 is 4 layers x 312 (feed-forward 1200), tinybert4-384 4 x 384 (1536), "
        "tinybert6 6 x 768 (3072), each with 12 heads",
    )
    layers: PositiveInt | None = Field(None, description="Number of transformer layers")
    width: PositiveInt | None = Field(None, description="Hidden width, a multiple of heads")
    ffn_width: PositiveInt | None = Field(None, description="Width of the feed-forward layers")
    heads: PositiveInt | None = Field(
        None, description="Number of attention heads; the attention loss needs as many as the teacher has"
    )
    architecture: Architecture = Field(
        "bert", description="Architecture of the student, which has the tokenizer of the teacher in either case"
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
        if self.preset is not None and any(number is not None for number in numbers):
            raise ValueError("give either preset, or layers, width, ffn_width and heads; not both")
        if self.preset is None and any(number is None for number in numbers):
            raise ValueError("give a preset, or all four of layers, width, ffn_width and heads")
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if (self.initialisation == "checkpoint") != (self.checkpoint is not None):
            raise ValueError("set both initialisation: checkpoint and the key checkpoint, or neither")
        return self

    @property
    def shape(self) -> StudentShape:
        """The shape of the preset, or the four numbers."""
        if self.preset is not None:
            return PRESETS[self.preset]
        assert self.layers and self.width and self.ffn_width and self.heads
        return StudentShape(layers=self.layers, width=self.width, ffn_width=self.ffn_width, heads=self.heads)


class ToleranceSection(RecipeSection):
    """Largest differences from the torch student on dev that a variant may have."""

    logit_error: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Mean error of the logits, as a share of their spread; default: that of the variant"
    )
    label_flips: Share | None = Field(
        None, description="Share of rows with another predicted label; default: that of the variant"
    )


class ExportSection(RecipeSection):
    """The variants to build."""

    variants: Annotated[list[VariantName], Field(min_length=1)] = Field(
        list(DEFAULT_VARIANTS), description="Variants of the student"
    )
    tolerance: dict[VariantName, ToleranceSection] = Field(
        {}, description="Tolerances that replace the default ones, by variant"
    )
    calibration_rows: Annotated[int, Field(ge=8)] = Field(
        256,
        description="Train rows that calibrate the activation ranges of static variants, balanced over the classes",
    )
    range_share: Annotated[float, Field(gt=0.9, le=1)] = Field(
        1.0, description="Share of the activation values inside the calibrated range; 1 takes all of them (min-max)"
    )
    reduce_range: bool = Field(
        False, description="Use 7 of the 8 bits of int8 weights, so that no CPU saturates their products"
    )
    teacher_variants: list[VariantName] = Field(
        ["fp32", "int8-static"],
        description="Variants of the teacher, which the benchmark compares with the student; they are not shipped",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError(f"variants lists one twice: {', '.join(self.variants)}")
        return self


class BenchSection(RecipeSection):
    """The benchmark of teacher, student and bundles."""

    threads: PositiveInt | None = Field(
        None, description="Threads of each model; default: all usable cores, shared by `processes` in a load test"
    )
    rounds: Annotated[int, Field(ge=2)] = Field(
        12, description="Rounds, each of which times every model once, in random order"
    )
    warm_up_s: PositiveFloat = Field(5.0, description="Longest warm-up of each model at each length, in seconds")
    compiled_teacher: bool = Field(True, description="Also time the teacher under torch.compile")
    restart_every: PositiveInt = Field(2, description="Rounds after which every model moves to a new process")
    roofline: bool = Field(
        True,
        description="Also measure the machine's roofline, how near the bundles come to it, and the time per operator",
    )
    thread_sweep: bool = Field(
        False, description="Also time with 1 thread, with 2, with one per physical core, and with `threads`"
    )
    latency_bound_ms: PositiveFloat | None = Field(
        None,
        description="Also run a load test: the most texts per second of which 99 % get their prediction within this "
        "many milliseconds; default: no load test",
    )
    processes: PositiveInt = Field(
        1, description="Processes that serve a model in the load test, each with `threads` threads"
    )
    fixed_lengths: list[PositiveInt] | None = Field(
        None, description="Token counts of the grid at batch size 1; default: 16, 32, 64 and 128 up to task.max_length"
    )
    fixed_batches: list[Annotated[int, Field(ge=2)]] = Field(
        [16], description="Batch sizes of the grid, each timed on texts of 32 tokens"
    )


class GateSection(RecipeSection):
    """The gate: limits on dev that a variant must meet to be shipped."""

    require: list[VariantName] = Field(
        [], description="Variants that must pass the gate; if one fails, the command ends with exit code 3"
    )
    student_share: Share | None = Field(
        0.99, description="Smallest share of the torch student's metric; null: no limit"
    )
    teacher_share: Share | None = Field(None, description="Smallest share of the teacher's metric; default: no limit")
    batch_shift: Share | None = Field(
        None,
        description="Largest change of a probability when texts are batched or padded, where 1e-5 means none; default: "
        "no limit",
    )
    size_mb: PositiveFloat | None = Field(
        None, description="Largest size of the bundle, in decimal megabytes; default: no limit"
    )
    latency_ms: PositiveFloat | None = Field(
        None,
        description="Largest median latency on this machine, from text to label at batch size 1, in milliseconds; "
        "default: no limit",
    )


class Recipe(RecipeSection):
    """A recipe: the settings of one run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Name of the run and of its folder runs/NAME: letters, digits, dots, dashes and underscores"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="Seed of all random numbers")
    smoke: bool = Field(
        False, description="Shrink every stage to a few rows and steps, to see whether the recipe runs at all"
    )
    task: TaskSection = Field(description="The labelled data, and the metric of the task")
    teacher: TeacherSection = Field(description="The model to learn from: a base to fine-tune, or a fine-tuned model")
    student: StudentSection = Field(description="The small model: its shape and its initialisation")
    augment: AugmentSection | None = Field(
        None, description="Data augmentation for both steps of task distillation; default: none"
    )
    distill: DistillSection = Field(DistillSection(), description="The stages of distillation")
    compute: ComputeSection = Field(ComputeSection(), description="How all training stages compute")
    export: ExportSection = Field(ExportSection(), description="The variants to build")
    bench: BenchSection = Field(BenchSection(), description="The benchmark of teacher, student and bundles")
    gate: GateSection = Field(GateSection(), description="Limits that a variant must meet to be shipped")


def grid_lengths(recipe: Recipe) -> list[int]:
    """The token counts of the benchmark's grid at batch size 1."""
    if recipe.bench.fixed_lengths is not None:
        return recipe.bench.fixed_lengths
    return [length for length in GRID_LENGTHS if length <= recipe.task.max_length]


def grid_of(recipe: Recipe) -> list[Shape]:
    """The (batch size, token count) pairs of the benchmark's grid."""
    lengths = grid_lengths(recipe)
    batches = [(size, min(GRID_BATCH_LENGTH, max(lengths))) for size in recipe.bench.fixed_batches if lengths]
    return list(dict.fromkeys([*((1, length) for length in lengths), *batches]))


def augmentation_of(recipe: Recipe) -> AugmentSection:
    """The recipe's augmentation. Raises UserError if it has none."""
    if recipe.augment is None:
        raise UserError(f"{recipe.name}: augment is missing; add the section to the recipe, at least `augment: {{}}`")
    return recipe.augment


def masked_lm_of(recipe: Recipe) -> str:
    """The name of the masked language model: the augmentation's own, or else the teacher's."""
    assert recipe.augment is not None
    return recipe.augment.masked_lm.model or recipe.teacher.base or recipe.teacher.model or ""
