"""The recipe: all settings of a run as typed sections. `loading` makes one from a YAML file."""

from typing import Annotated, Literal

from pydantic import Field

from bench.timing.systems import Shape
from compress.common.errors import UserError
from pocketbert.recipe.augmentation import AugmentSection
from pocketbert.recipe.delivery import BenchSection, ExportSection, GateSection
from pocketbert.recipe.models import StudentSection, TeacherSection
from pocketbert.recipe.task import TaskSection
from pocketbert.recipe.training import ComputeSection, DistillSection, RecipeSection, Seed

TASK_STAGES: tuple[Literal["intermediate"], Literal["prediction"]] = ("intermediate", "prediction")


class Recipe(RecipeSection):
    """A recipe: the settings of one run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)] = Field(
        description="Name of the run and of its folder runs/NAME: letters, digits, dots, dashes and underscores"
    )
    seed: Seed = Field(0, description="Seed of all random numbers")
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


def num_training_texts(recipe: Recipe, num_rows: int, *, takes_pairs: bool) -> int:
    """The texts of both steps of task distillation, with augmented ones. `num_rows`: of train."""
    if recipe.augment is None:
        return num_rows
    return num_rows * (1 + recipe.augment.copies_per_text * (2 if takes_pairs else 1))


def task_seed_of(recipe: Recipe) -> int:
    """The seed of both steps of task distillation."""
    return recipe.seed if recipe.distill.seed is None else recipe.distill.seed


def grid_of(recipe: Recipe) -> list[Shape]:
    """The (batch size, token count) pairs of the benchmark's grid. An explicit empty list of lengths means no grid."""
    no_grid = recipe.bench.fixed_lengths == []
    return [] if no_grid else recipe.bench.settings().grid(recipe.task.max_length)


def augmentation_of(recipe: Recipe) -> AugmentSection:
    """The recipe's augmentation. Raises UserError if it has none."""
    if recipe.augment is None:
        raise UserError(f"{recipe.name}: augment is missing; add the section to the recipe, at least `augment: {{}}`")
    return recipe.augment


def masked_lm_of(recipe: Recipe) -> str:
    """The name of the masked language model: the augmentation's own, or else the teacher's."""
    assert recipe.augment is not None
    return recipe.augment.masked_lm.model or recipe.teacher.base or recipe.teacher.model or ""
