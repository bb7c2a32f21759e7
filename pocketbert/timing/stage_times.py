"""The time of each stage of a run, from the cost of a step and the amounts of work. Loads no torch."""

import numpy as np

from pocketbert.recipe.sections import Recipe
from pocketbert.recipe.training import SearchableSection
from pocketbert.timing import other_times
from pocketbert.timing.amounts import (
    Sizes,
    Speeds,
    batch_sizes,
    is_searched,
    num_rows,
    num_steps,
    num_texts,
    row_lengths,
    search_amount,
    section_of,
)
from pocketbert.timing.step_cost import MARGIN, StepCost, TimeRange, of_fixed, of_passes, total

START_S = 2.0  # loading and saving the models of a stage
WRITE_BYTES_PER_S = 3e8  # to disk
BYTES_PER_WEIGHT = 4  # a checkpoint holds each weight, and two moments of the optimiser
TOKENS_READ_PER_S = 2e5  # by a tokenizer, and written as rows
CALIBRATION_TOKENS = 8000  # of projected initialisation
HELD_OUT_BLOCKS, QUERIES_PER_BLOCK = 1000, 4  # of the head of the masked language model


def stage_time(stage: str, recipe: Recipe, sizes: Sizes, speeds: Speeds) -> TimeRange:
    """The time of a stage, from its first step or from its last checkpoint, over all epochs that it may train."""
    match stage:
        case "baseline":
            return other_times.baseline(sizes)
        case "search":
            return _search("teacher", recipe.teacher.fine_tune, recipe, sizes, speeds)
        case "teacher":
            return _teacher(recipe, sizes, speeds)
        case "general" | "masked_lm":
            return _on_blocks(stage, recipe, sizes, speeds)
        case "augment":
            return other_times.augmentation(recipe, sizes, speeds)
        case "intermediate":
            return _intermediate(recipe, sizes, speeds)
        case "prediction":
            return _prediction(recipe, sizes, speeds)
        case "export":
            return other_times.export(recipe, sizes, speeds)
        case "bench":
            return other_times.bench(recipe, sizes, speeds)
    raise AssertionError(f"no estimate for the stage {stage}")


def _teacher(recipe: Recipe, sizes: Sizes, speeds: Speeds) -> TimeRange:
    if recipe.teacher.model is not None or is_searched("teacher", recipe):
        passes = of_passes(speeds.teacher, sizes.held_out + sizes.num_dev, sizes.mean_tokens)
        return of_fixed(START_S) + passes
    epochs = recipe.teacher.fine_tune.epochs or 0
    passes = of_passes(speeds.teacher, sizes.held_out + epochs * sizes.num_dev, sizes.mean_tokens)
    return passes + _training("teacher", recipe, sizes, speeds, num_weights=sizes.teacher_weights, num_saved=epochs)


def _intermediate(recipe: Recipe, sizes: Sizes, speeds: Speeds) -> TimeRange:
    return total(
        [
            of_fixed(2 * CALIBRATION_TOKENS * speeds.teacher.per_token_s),
            of_passes(speeds.student, 2 * sizes.held_out, sizes.mean_tokens),
            _training("intermediate", recipe, sizes, speeds, num_weights=sizes.student_weights),
        ]
    )


def _prediction(recipe: Recipe, sizes: Sizes, speeds: Speeds) -> TimeRange:
    section, num_all = recipe.distill.prediction, num_texts(recipe, sizes)
    assert section.batch_size is not None
    num_seen = num_steps(section, num_all) * section.batch_size
    epochs = -(-num_seen // sizes.num_train)  # a score on dev after each
    if section.search is not None:
        training = _search("prediction", section, recipe, sizes, speeds)
    else:
        training = _training("prediction", recipe, sizes, speeds, num_weights=sizes.student_weights, num_saved=epochs)
    return total(
        [
            of_passes(speeds.teacher, min(num_all, num_seen), sizes.mean_tokens),
            of_passes(speeds.student, 2 * sizes.held_out + epochs * sizes.num_dev, sizes.mean_tokens),
            training,
        ]
    )


def _on_blocks(stage: str, recipe: Recipe, sizes: Sizes, speeds: Speeds) -> TimeRange:
    """A stage that reads running text. Its texts are tokenised first."""
    section = section_of(stage, recipe)
    assert section is not None and section.epochs is not None
    num_blocks, length = sizes.num_blocks[stage], int(row_lengths(stage, recipe, sizes)[0])
    queries = TimeRange()
    if stage == "masked_lm":
        num_queries = QUERIES_PER_BLOCK * min(HELD_OUT_BLOCKS, num_blocks / 50) * (section.epochs + 1)
        queries = of_passes(speeds.teacher, 2 * num_queries, length)  # the head takes about as long as the encoder
    num_weights = sizes.student_weights if stage == "general" else sizes.teacher_weights
    num_saved = 0 if stage == "general" else section.epochs
    return total(
        [
            of_fixed(num_blocks * length / TOKENS_READ_PER_S),
            queries,
            _training(stage, recipe, sizes, speeds, num_weights=num_weights, num_saved=num_saved),
        ]
    )


def _training(
    stage: str, recipe: Recipe, sizes: Sizes, speeds: Speeds, *, num_weights: int, num_saved: int = 0
) -> TimeRange:
    """All steps of a training stage that are not done, with its checkpoints. `num_saved`: best epochs on disk."""
    section = section_of(stage, recipe)
    assert section is not None and section.batch_size is not None
    steps = max(0, num_steps(section, num_rows(stage, recipe, sizes)) - sizes.steps_done.get(stage, 0))
    num_copies = 3 * (1 + steps // section.checkpoint_steps) + num_saved + 1
    return _steps(speeds.steps[stage], steps, row_lengths(stage, recipe, sizes), section.batch_size) + of_fixed(
        START_S + num_copies * num_weights * BYTES_PER_WEIGHT / WRITE_BYTES_PER_S
    )


def _search(stage: str, section: SearchableSection, recipe: Recipe, sizes: Sizes, speeds: Speeds) -> TimeRange:
    """A search: parts of trainings, each with a checkpoint and passes over dev. `stage`: whose values are searched.

    If it compares batch sizes, all trainings count as those of the largest.
    """
    model, num_weights = speeds.teacher, sizes.teacher_weights
    if stage == "prediction":
        model, num_weights = speeds.student, sizes.student_weights
    num_parts, steps = search_amount(section, num_rows(stage, recipe, sizes))
    assert section.batch_size is not None
    num_epochs = steps * section.batch_size / sizes.num_train
    num_copies = 3 * (num_parts + steps // section.checkpoint_steps) + num_epochs
    written_s = num_copies * num_weights * BYTES_PER_WEIGHT / WRITE_BYTES_PER_S
    return total(
        [
            of_fixed(num_parts * START_S / 2 + written_s),
            of_passes(model, (num_parts + num_epochs) * sizes.num_dev, sizes.mean_tokens),
            _steps(speeds.steps[stage], steps, row_lengths(stage, recipe, sizes), max(batch_sizes(section))),
        ]
    )


def _steps(cost: StepCost, count: int, lengths: np.ndarray, batch_size: int) -> TimeRange:
    mean = cost.mean_step(lengths, batch_size)
    return TimeRange(expected_s=count * mean.expected_s, maximum_s=MARGIN * count * mean.maximum_s)
