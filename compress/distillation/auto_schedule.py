"""Rules for the schedules that a recipe leaves to `auto`. They count rows, classes, steps and widths, never seconds.

A choice that depended on the machine's speed would give other weights elsewhere. Loads no torch. `results/README.md`
has the measurements behind the numbers.
"""

import math

SMALL_TABLE, SMALL_BATCH, USUAL_BATCH = 1000, 16, 32  # rows; rows per step
FINE_TUNE_STEPS, INTERMEDIATE_STEPS, PREDICTION_STEPS = 800, 1600, 600  # if there are few classes
FEW_TEXTS, INTERMEDIATE_STEPS_FOR_FEW_TEXTS = 2000, 3200  # the loss on few texts keeps falling
STEPS_PER_CLASS, STEPS_PER_CLASS_IF_EQUAL = 16, 64  # the second if rare classes count as much as frequent ones
MIN_EPOCHS, MAX_EPOCHS, MAX_STUDENT_EPOCHS = 3, 15, 200  # a student does not overfit the teacher's layers
PATIENCE_SHARE = 3  # of the epochs; training stops if the last third brought no better dev score
MIN_DEV_ROWS = 200  # a search on fewer rows would choose by chance
SEARCH_FACTORS = (1 / 3, 1, 3)  # of the usual rate
REFERENCE_WIDTH, REFERENCE_RATE = 384, 1e-4  # of a teacher
STUDENT_WIDTH, STUDENT_RATE, PREDICTION_RATE = 312, 1e-3, 1e-4


def batch_size(num_rows: int) -> int:
    """The batch size of fine-tuning: small tables need small batches for enough steps."""
    return SMALL_BATCH if num_rows < SMALL_TABLE else USUAL_BATCH


def intermediate_steps(num_texts: int) -> int:
    """The usual number of steps of intermediate-layer distillation."""
    return INTERMEDIATE_STEPS_FOR_FEW_TEXTS if num_texts <= FEW_TEXTS else INTERMEDIATE_STEPS


def epochs_for(
    usual_steps: int,
    num_rows: int,
    num_classes: int,
    batch_size: int,
    *,
    most: int = MAX_EPOCHS,
    classes_count_equally: bool = False,
) -> int:
    """The epochs that give about the usual number of steps, or more if there are many classes: from 3 to `most`.

    `classes_count_equally`: whether the metric is a mean over classes, so that rare ones must be learned too.
    """
    num_steps = max(usual_steps, (STEPS_PER_CLASS_IF_EQUAL if classes_count_equally else STEPS_PER_CLASS) * num_classes)
    epochs = round(num_steps / math.ceil(num_rows / batch_size))
    return min(max(epochs, MIN_EPOCHS), most)


def patience(epochs: int) -> int:
    """The epochs without a better dev score after which a stage stops."""
    return max(2, math.ceil(epochs / PATIENCE_SHARE))


def fine_tune_rate(width: int) -> float:
    """The usual learning rate for a teacher of this hidden width, for tables too small for a search."""
    return _rounded(REFERENCE_RATE * min(1, REFERENCE_WIDTH / width) ** 2)


def fine_tune_rates(width: int) -> list[float]:
    """The learning rates to search for a teacher of this hidden width."""
    return around(fine_tune_rate(width))


def around(rate: float) -> list[float]:
    """The learning rates to search: the usual one, a smaller and a larger one."""
    return [_rounded(rate * factor) for factor in SEARCH_FACTORS]


def layer_wise_rate(student_width: int) -> float:
    """The learning rate of a layer-wise stage: wide students need a smaller one."""
    return _rounded(STUDENT_RATE * STUDENT_WIDTH / student_width)


def prediction_rate(student_width: int) -> float:
    """The learning rate of the prediction stage."""
    return _rounded(PREDICTION_RATE * STUDENT_WIDTH / student_width)


def is_searchable(num_dev_rows: int) -> bool:
    """Whether dev has enough rows to compare learning rates."""
    return num_dev_rows >= MIN_DEV_ROWS


def _rounded(rate: float) -> float:
    """The rate with one significant digit."""
    return float(f"{rate:.0e}")
