"""The time left after a search, from the steps of the search itself. Loads no torch."""

from collections.abc import Iterable, Mapping

import numpy as np

from compress.data.tasks import Task
from compress.models.compatibility import read_encoder
from pocketbert.recipe.sections import Recipe
from pocketbert.timing.amounts import Sizes, Speeds
from pocketbert.timing.other_times import encoder_weights
from pocketbert.timing.stage_times import stage_time
from pocketbert.timing.step_cost import ForwardCost, StepCost, TimeRange, bucketed_batches, total

BACKWARD = 2.2  # time of a backward pass and an update, in forward passes
SMALL_MODEL = 1.5  # time per operation in a small model, relative to the teacher
ATTENTION = 1.3  # attention that returns its scores, relative to the usual one
SINGLE_TOKENS = 24  # the part of a single forward pass that does not depend on the number of tokens, in tokens
DERIVED_SPREAD = 1.3


def remaining_time(
    recipe: Recipe,
    task: Task,
    stages: Iterable[str],
    *,
    lengths: np.ndarray,
    seconds_per_step: float,
    teacher_is_trained: bool = False,
    num_blocks: Mapping[str, int] | None = None,
) -> TimeRange:
    """The time of stages that are still to do, after a search has timed the steps of the teacher. Times nothing.

    `recipe`: after the search. `lengths`: tokens per train row after truncation, (rows,). `seconds_per_step`: of the
    search, with its passes over dev. `teacher_is_trained`: whether the search trained it in full. `num_blocks`: of the
    stages on running text; others are left out. The speed of the student is derived from its size.
    """
    if teacher_is_trained:  # the stage then only scores a model
        section = recipe.teacher.model_copy(update={"model": recipe.teacher.base})
        recipe = recipe.model_copy(update={"teacher": section})
    teacher = read_encoder(recipe.teacher.model or recipe.teacher.base or "")
    shape = recipe.student.shape
    share = shape.layers * (4 * shape.width**2 + 2 * shape.width * shape.ffn_width) / encoder_weights(teacher)
    sizes = Sizes(
        num_train=len(task.train),
        num_dev=len(task.dev),
        num_test=len(task.test),
        num_labels=len(task.labels),
        takes_pairs=task.train.pairs is not None,
        lengths=lengths,
        teacher_weights=encoder_weights(teacher) + teacher.vocab_size * teacher.embedding_width,
        student_weights=int(encoder_weights(teacher) * share) + teacher.vocab_size * shape.width,
        num_blocks=num_blocks or {},
    )
    known = [stage for stage in stages if stage not in ("general", "masked_lm") or stage in sizes.num_blocks]
    batch_size = recipe.teacher.fine_tune.batch_size or 1
    step_s = seconds_per_step / float(bucketed_batches(lengths, batch_size).tokens.mean())  # per token
    return total(stage_time(stage, recipe, sizes, _speeds(step_s, share, sizes.mean_tokens)) for stage in known)


def _speeds(teacher_step_s: float, share: float, mean_tokens: float) -> Speeds:
    """The speeds of all stages. `teacher_step_s`: seconds per token. `share`: the student's size, as a part of it."""
    forward_s = teacher_step_s / (1 + BACKWARD)
    student_s = forward_s * min(1.0, share * SMALL_MODEL)
    layers = _derived(ATTENTION * (forward_s + student_s) + BACKWARD * student_s)
    return Speeds(
        steps={
            "teacher": _derived(teacher_step_s),
            "masked_lm": _derived(teacher_step_s),
            "general": layers,
            "intermediate": layers,
            "prediction": _derived((1 + BACKWARD) * student_s),
        },
        teacher=_forward(forward_s, mean_tokens),
        student=_forward(student_s, mean_tokens),
    )


def _derived(per_token_s: float) -> StepCost:
    return StepCost(
        fixed_s=0.0, per_token_s=per_token_s, spread=DERIVED_SPREAD, timed_rows=1, proportional_s=per_token_s
    )


def _forward(per_token_s: float, mean_tokens: float) -> ForwardCost:
    return ForwardCost(single_s=(SINGLE_TOKENS + mean_tokens) * per_token_s, per_token_s=per_token_s)
