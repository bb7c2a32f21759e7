"""The amounts of work in the stages of a run: rows, steps and trainings. Loads no torch.

All functions take a recipe without `auto`. A learning rate to search may be open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from compress.distillation.successive_halving import num_search_steps, rounds_of
from pocketbert.recipe.augmentation import TrainHeadSection
from pocketbert.recipe.choices import candidates_of
from pocketbert.recipe.sections import Recipe, num_training_texts
from pocketbert.recipe.training import GeneralSection, SearchableSection, StageSection
from pocketbert.timing.step_cost import ForwardCost, StepCost


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The amounts of data, and the sizes of the models.

    `lengths`: tokens per row after truncation, (rows,), of all train rows or of a random sample. `teacher_weights`,
    `student_weights`: number of weights. `num_blocks`: token blocks of the corpora, by stage. `steps_done`: before an
    interruption, by stage.
    """

    num_train: int
    num_dev: int
    num_test: int
    num_labels: int
    takes_pairs: bool
    lengths: np.ndarray
    teacher_weights: int
    student_weights: int
    num_blocks: Mapping[str, int] = field(default_factory=dict)
    steps_done: Mapping[str, int] = field(default_factory=dict)

    @property
    def mean_tokens(self) -> float:
        """Tokens per row."""
        return float(self.lengths.mean())

    @property
    def held_out(self) -> int:
        """Rows of dev and test."""
        return self.num_dev + self.num_test


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The speed of this machine when it is quiet.

    `steps`: the cost of a step, by training stage. `slowdown`: by how much other programs slow this one down now.
    """

    steps: Mapping[str, StepCost]
    teacher: ForwardCost
    student: ForwardCost
    slowdown: float = 1.0


def section_of(stage: str, recipe: Recipe) -> StageSection | None:
    """The section of a training stage; None if the stage does not train."""
    match stage:
        case "teacher":
            return recipe.teacher.fine_tune if recipe.teacher.model is None else None
        case "general":
            return recipe.distill.general
        case "masked_lm":
            return None if recipe.augment is None else recipe.augment.masked_lm.train_head
        case "intermediate":
            return recipe.distill.intermediate
        case "prediction":
            return recipe.distill.prediction
    return None


def num_texts(recipe: Recipe, sizes: Sizes) -> int:
    """The texts of both steps of task distillation, with augmented ones."""
    return num_training_texts(recipe, sizes.num_train, takes_pairs=sizes.takes_pairs)


def num_rows(stage: str, recipe: Recipe, sizes: Sizes) -> int:
    """The rows per epoch of a training stage."""
    if stage in sizes.num_blocks:
        return sizes.num_blocks[stage]
    return num_texts(recipe, sizes) if stage in ("intermediate", "prediction") else sizes.num_train


def row_lengths(stage: str, recipe: Recipe, sizes: Sizes) -> np.ndarray:
    """Tokens per row of a training stage, (rows,). Almost all token blocks are full."""
    section = section_of(stage, recipe)
    if isinstance(section, GeneralSection | TrainHeadSection):
        return np.full(min(sizes.num_blocks[stage], len(sizes.lengths)), section.max_length)
    return sizes.lengths


def num_steps(section: StageSection, num_rows: int, batch_size: int | None = None) -> int:
    """The optimiser steps of a section, over all epochs. `batch_size`: replaces the section's own."""
    size = batch_size or section.batch_size
    assert section.epochs is not None and size is not None
    steps = section.epochs * -(-num_rows // size)
    return min(steps, section.max_steps or steps)


def batch_sizes(section: StageSection) -> list[int]:
    """The batch sizes with which a section may train: its own, or those of its search."""
    assert section.batch_size is not None
    if isinstance(section, SearchableSection) and section.search is not None:
        return sorted({candidate.batch_size for candidate in candidates_of(section)})
    return [section.batch_size]


def search_amount(section: SearchableSection, num_rows: int) -> tuple[int, int]:
    """The parts of trainings in a search, and its optimiser steps. They include the full training of the best value."""
    num_candidates, full_steps = len(candidates_of(section)), num_steps(section, num_rows)
    num_parts = sum(count for count, _ in rounds_of(num_candidates, full_steps))
    return num_parts, num_search_steps(num_candidates, full_steps)


def is_searched(stage: str, recipe: Recipe) -> bool:
    """Whether the training of a stage is part of a search."""
    section = section_of(stage, recipe)
    return isinstance(section, SearchableSection) and section.search is not None


def num_stage_steps(stage: str, recipe: Recipe, sizes: Sizes) -> int | None:
    """The optimiser steps of a stage, over all its trainings; None if the stage does not train.

    A search of its own stage includes the teacher's training.
    """
    section = recipe.teacher.fine_tune if stage == "search" else section_of(stage, recipe)
    if section is None or (stage == "teacher" and is_searched(stage, recipe)):
        return None
    rows = num_rows(stage, recipe, sizes)
    if isinstance(section, SearchableSection) and section.search is not None:
        return search_amount(section, rows)[1]
    return num_steps(section, rows)
