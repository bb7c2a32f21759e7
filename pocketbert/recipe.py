"""The recipe: one YAML file that says everything a run needs, read strictly."""

import importlib.resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from compress.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]


class Section(BaseModel):
    """A part of the recipe: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TaskSection(Section):
    """The labelled data."""

    data: str = Field(description="A local file, a folder with train/dev/test files, a Hub name, or builtin:NAME")
    subset: str | None = Field(None, description="Configuration name on the Hub, such as sst2 of nyu-mll/glue")
    splits: dict[Literal["train", "dev", "test"], str] = Field({}, description="What a split is called in the data")
    text: Annotated[Names, Field(max_length=2)] = Field(["text"], description="One or two text columns")
    label: str = Field("label", description="The label column: names or integers")
    labels: list[str] | None = Field(None, description="Class names; for integer labels in the order of the integers")
    encoding: str = Field("utf-8", description="Text encoding of local files")
    max_length: PositiveInt = Field(128, description="Tokens; longer texts are cut")
    metric: Literal["accuracy", "f1", "matthews"] = "accuracy"


class StageSection(Section):
    """How one training stage runs."""

    epochs: PositiveInt
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    decay: Literal["linear", "constant_with_warmup", "cosine"] = "linear"
    max_steps: PositiveInt | None = Field(None, description="Cuts the epochs short")
    checkpoint_steps: PositiveInt = Field(200, description="Optimiser steps between checkpoints")


class FineTuneSection(StageSection):
    """Fine-tuning of the teacher from its base."""

    epochs: PositiveInt = 3
    learning_rate: PositiveFloat = 3e-5


class TeacherSection(Section):
    """`base`: not fine-tuned; `model`: fine-tuned on the task. One of them is enough."""

    base: str | None = None
    model: str | None = None
    fine_tune: FineTuneSection = FineTuneSection()

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.base is None and self.model is None:
            raise ValueError("name teacher.base (a checkpoint to fine-tune), teacher.model (a fine-tuned one), or both")
        return self


class StudentSection(Section):
    """The student's shape, by preset or by its four numbers, and where its first weights come from."""

    preset: Literal["tinybert4", "tinybert4-384", "tinybert6"] | None = None
    layers: PositiveInt | None = None
    width: PositiveInt | None = None
    ffn_width: PositiveInt | None = None
    heads: PositiveInt | None = None
    dropout: Share = Field(0.0, description="Measured: a student under distillation learns better without")
    initialisation: Literal["projected", "random", "teacher_layers", "checkpoint"] = "projected"
    checkpoint: str | None = Field(None, description="A student folder or Hub name, for initialisation: checkpoint")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        numbers = [self.layers, self.width, self.ffn_width, self.heads]
        if self.preset is not None and any(number is not None for number in numbers):
            raise ValueError("give either preset, or layers, width, ffn_width and heads; not both")
        if self.preset is None and any(number is None for number in numbers):
            raise ValueError("give a preset, or all four of layers, width, ffn_width and heads")
        if (self.initialisation == "checkpoint") != (self.checkpoint is not None):
            raise ValueError("initialisation: checkpoint and the key checkpoint belong together")
        return self


class LayerWiseSection(StageSection):
    """A stage that matches layers; the weights are those of the three losses."""

    learning_rate: PositiveFloat = 5e-5
    embedding: Annotated[float, Field(ge=0)] = 1.0
    hidden: Annotated[float, Field(ge=0)] = 1.0
    attention: Annotated[float, Field(ge=0)] = 1.0

    @model_validator(mode="after")
    def _matches_something(self) -> Self:
        if not (self.embedding or self.hidden or self.attention):
            raise ValueError("the weights embedding, hidden and attention are all 0: the stage would match nothing")
        return self


class GeneralSection(LayerWiseSection):
    """General distillation: the teacher's base on running text."""

    corpus: Names = Field(description="Files or folders (.txt, .jsonl), builtin:NAME, or `task`: the train texts")
    epochs: PositiveInt = 3
    batch_size: PositiveInt = 64
    max_length: PositiveInt = 128


class IntermediateSection(LayerWiseSection):
    """Task distillation, first step: the fine-tuned teacher's layers on the task's texts."""

    epochs: PositiveInt = 20


class PredictionSection(StageSection):
    """Task distillation, second step: the teacher's logits."""

    epochs: PositiveInt = 3
    learning_rate: PositiveFloat = 3e-5
    temperature: PositiveFloat = 1.0


class DistillSection(Section):
    """The stages of distillation; without `general` the student starts from the fine-tuned teacher."""

    general: GeneralSection | None = None
    intermediate: IntermediateSection = IntermediateSection()
    prediction: PredictionSection = PredictionSection()


class ToleranceSection(Section):
    """How far a variant may be from the torch student on dev and still ship."""

    logit_error: Annotated[float, Field(ge=0)] | None = Field(None, description="Mean error / spread of the logits")
    label_flips: Share | None = Field(None, description="Share of rows whose label changes")
    metric_drop: Share | None = Field(None, description="Metric of the torch student less the variant's")


class ExportSection(Section):
    """The variants to build."""

    variants: Annotated[list[Literal["fp32", "int8-dynamic"]], Field(min_length=1)] = ["fp32", "int8-dynamic"]
    tolerance: dict[Literal["fp32", "int8-dynamic"], ToleranceSection] = {}


class BenchSection(Section):
    """How much is measured."""

    threads: PositiveInt | None = Field(None, description="Thread budget of every contender; default: all usable cores")
    rounds: PositiveInt = 12
    fixed_lengths: list[PositiveInt] = [16, 32, 64, 128]


class GateSection(Section):
    """What must pass, or the command ends with exit code 3."""

    require: list[Literal["fp32", "int8-dynamic"]] = []


class Recipe(Section):
    """One run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    task: TaskSection
    teacher: TeacherSection
    student: StudentSection
    distill: DistillSection = DistillSection()
    export: ExportSection = ExportSection()
    bench: BenchSection = BenchSection()
    gate: GateSection = GateSection()

    @model_validator(mode="after")
    def _requires_what_is_built(self) -> Self:
        for variant in (*self.gate.require, *self.export.tolerance):
            if variant not in self.export.variants:
                raise ValueError(f"gate or tolerance names {variant}, which export.variants does not build")
        return self


def built_in() -> dict[str, Path]:
    """Recipes that ship with PocketBERT, by name."""
    folder = Path(str(importlib.resources.files("pocketbert") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str) -> Recipe:
    """Read a recipe file, or a built-in one by its name. All mistakes are told at once, in one UserError."""
    path = Path(name)
    if not path.is_file():
        known = built_in()
        if name not in known:
            raise UserError(f"{name}: neither a recipe file nor a built-in recipe ({', '.join(known)})")
        path = known[name]
    try:
        content = YAML(typ="safe").load(path)
    except (YAMLError, UnicodeError, OSError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected keys and values, got {type(content).__name__}")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {_in_words(entry)}" for entry in error.errors())) from error


def to_yaml(recipe: Recipe, path: Path) -> None:
    """Write the recipe with every default filled in."""
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(recipe.model_dump(), file)


def _in_words(entry: Any) -> str:
    key = ".".join(str(part) for part in entry["loc"]) or "recipe"
    if entry["type"] == "missing":
        return f"{key}: missing"
    if entry["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    message = entry["msg"].removeprefix("Value error, ")
    got = "" if isinstance(entry["input"], dict) else f", got {entry['input']!r}"
    return f"{key}: {message[0].lower()}{message[1:]}{got}"
