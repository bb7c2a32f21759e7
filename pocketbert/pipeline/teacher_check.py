"""The comparison of the teacher with the TF-IDF baseline on dev, which can stop a run before distillation."""

import numpy as np

from compress.common.errors import NotGoodEnough
from compress.label_signal import signal_p_value
from compress.results import BaselineResult, TeacherResult
from export.parity.significance import paired_difference
from export.results import MetricDifference
from pocketbert.stage_parts.context import CONTINUE, DEV_PREDICTIONS, StageContext

RESAMPLES = 2000
LARGEST_P_VALUE = 0.05  # of predictions that say something about the labels


def teacher_over_baseline(context: StageContext) -> MetricDifference:
    """The teacher's metric on dev minus the baseline's, paired by row, with its 95 % interval."""
    teacher, baseline = (np.load(context.folder / stage / DEV_PREDICTIONS) for stage in ("teacher", "baseline"))
    return paired_difference(
        context.recipe.task.metric,
        context.task.dev.labels,
        teacher,
        baseline,
        task_type=context.task_type,
        num_labels=len(context.task.labels),
        positive=context.positive,
        seed=context.recipe.seed,
        resamples=RESAMPLES,
    )


def check_teacher(context: StageContext, baseline: BaselineResult, teacher: TeacherResult) -> str | None:
    """A caution if the teacher is not above the baseline; None if it is.

    Raises NotGoodEnough if the teacher is below the baseline, or not above a model that always predicts the same.
    With `gate.teacher_over_baseline: false` these are cautions too. A smoke run has no limits.
    """
    if context.recipe.smoke:
        return None
    difference = teacher_over_baseline(context)
    problem = (
        _below_baseline(context, baseline, teacher, difference)
        or _not_above_constant(context, baseline, teacher)
        or _no_signal(context, teacher)
    )
    if problem is not None:
        if context.recipe.gate.teacher_over_baseline:
            raise NotGoodEnough(f"{problem}; {_advice(context)}; {CONTINUE}")
        return problem
    if difference.low <= 0:
        return (
            f"the teacher is not above {baseline.model}: {_figures(context, baseline, teacher)}"
            f" on dev ({_interval(difference)}). A linear model may be enough for this task"
        )
    return None


def _below_baseline(
    context: StageContext, baseline: BaselineResult, teacher: TeacherResult, difference: MetricDifference
) -> str | None:
    if difference.high >= 0:
        return None
    return (
        f"the teacher is below {baseline.model}: {_figures(context, baseline, teacher)} on dev "
        f"({_interval(difference)})"
    )


def _not_above_constant(context: StageContext, baseline: BaselineResult, teacher: TeacherResult) -> str | None:
    score, constant = teacher.scores.dev, baseline.most_common.dev
    if score > constant:
        return None
    constant_model = "of always predicting the most common label" if context.task_type.has_classes else "of a constant"
    return f"the teacher's dev {context.metric_name} of {score:.3f} is not above {constant:.3f}, that {constant_model}"


def _no_signal(context: StageContext, teacher: TeacherResult) -> str | None:
    """Whether the teacher's predictions on dev agree with the labels no better than by chance."""
    predictions = np.load(context.folder / "teacher" / DEV_PREDICTIONS)
    if context.task_type.has_classes:
        outputs = np.eye(len(context.task.labels))[predictions]
    else:
        outputs = predictions[:, np.newaxis]
    p_value = signal_p_value(context.task.type, context.task.dev.labels, outputs)
    if p_value <= LARGEST_P_VALUE:
        return None
    return (
        f"the teacher's dev {context.metric_name} of {teacher.scores.dev:.3f} may be chance (p = {p_value:.2g} on "
        f"{len(predictions)} rows)"
    )


def _figures(context: StageContext, baseline: BaselineResult, teacher: TeacherResult) -> str:
    return f"{context.metric_name} {teacher.scores.dev:.3f} against {baseline.scores.dev:.3f}"


def _interval(difference: MetricDifference) -> str:
    return f"difference {difference.value:+.3f}, 95 % interval {difference.low:+.3f} to {difference.high:+.3f}"


def _advice(context: StageContext) -> str:
    if context.recipe.teacher.model is not None:
        return "use another teacher.model, or check that this one was fine-tuned on the same task"
    return "use more rows, another teacher.base, or a longer training (such as --set teacher.fine_tune.epochs=10)"
