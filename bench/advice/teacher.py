"""Advice on the teacher."""

from collections.abc import Iterator

from bench.advice import training_trends
from bench.advice.advice import Advice, train_longer
from bench.advice.run_figures import RunFigures
from compress.common.wording import brief_list

MIN_CLASS_ROWS = 3  # a class with fewer rows may be missed by chance
RARE = 0.25  # of the mean number of rows per class
BASE_PARAMETERS = 80e6  # a teacher with fewer is smaller than BERT-base


def on_teacher(figures: RunFigures) -> Iterator[Advice]:
    """Advice on a teacher that is not above the baseline, misses classes with its student, or was still improving."""
    yield from _below_baseline(figures)
    yield from _never_predicted(figures)
    yield from _still_improving(figures)


def _below_baseline(figures: RunFigures) -> Iterator[Advice]:
    teacher, baseline = figures.teacher_row, figures.baseline_row
    if teacher is None or baseline is None or teacher.score is None or baseline.score is None:
        return
    difference = teacher.minus_baseline
    is_above = teacher.score > baseline.score and (difference is None or difference.low > 0)
    if is_above:
        return
    gap = baseline.score - teacher.score
    by = "as much as" if not gap else f"{abs(gap):.3f} {'less' if gap > 0 else 'more'} than"
    significant = "" if gap > 0 else ", which may be chance"
    yield Advice(
        sentence=f"The teacher scores {teacher.score:.3f} on {figures.split}, {by} {baseline.name}{significant}. "
        f"{_remedy_for_teacher(figures)}",
        changes=_better_teacher(figures),
    )


def _remedy_for_teacher(figures: RunFigures) -> str:
    if not figures.is_fine_tuned_here:
        return "Fine-tune it on this table."
    if not figures.has_chosen("teacher.fine_tune"):
        return "Let the run choose its learning rate and epochs."
    return "Try a larger base." if _is_small(figures) else "Train it longer."


def _better_teacher(figures: RunFigures) -> tuple[str, ...]:
    """Fine-tune with chosen values; if they are that already, a larger base, or more epochs."""
    if not figures.is_fine_tuned_here:
        model = figures.setting("teacher.model")
        named = [f"teacher.base={model}", "teacher.model=null"] if model else []
        return (*named, "teacher.fine_tune=auto")
    if not figures.has_chosen("teacher.fine_tune"):
        return ("teacher.fine_tune=auto",)
    return ("teacher.base=bert-base-uncased",) if _is_small(figures) else _longer_teacher(figures)


def _is_small(figures: RunFigures) -> bool:
    teacher = figures.stages.teacher
    return teacher is not None and teacher.num_parameters < BASE_PARAMETERS


def _longer_teacher(figures: RunFigures) -> tuple[str, ...]:
    """All main keys at once, because `teacher.fine_tune: auto` has no keys that could be changed one by one."""
    training = figures.teacher_training
    if training is None:
        return ("teacher.fine_tune=auto",)
    values = {
        "epochs": 2 * training_trends.num_epochs(training),
        "learning_rate": figures.number("teacher.fine_tune.learning_rate") or training_trends.peak_rate(training),
        "batch_size": figures.number("teacher.fine_tune.batch_size"),
    }
    keys = ", ".join(f"{key}: {value:g}" for key, value in values.items() if value is not None)
    return (f"teacher.fine_tune={{{keys}}}",)


def _never_predicted(figures: RunFigures) -> Iterator[Advice]:
    student, prediction = figures.student_row, figures.stages.prediction
    if student is None or prediction is None:
        return
    missed = [each for each in student.never_predicted or [] if each.rows >= MIN_CLASS_ROWS]
    if not missed:
        return
    of_teacher = {each.index for each in (figures.teacher_row and figures.teacher_row.never_predicted) or []}
    also_missed = sum(each.index in of_teacher for each in missed)
    num_rows, num_classes = figures.num_scored_rows, len(figures.labels)
    of_classes = f" of {num_classes}" if num_classes else ""
    names = brief_list([figures.label(each.index) for each in missed], most=4)
    mean_rows = num_rows / max(1, num_classes)
    are_rare = sum(each.rows for each in missed) / len(missed) < RARE * mean_rows
    if also_missed * 2 >= len(missed):
        changes = _better_teacher(figures) if not figures.has_chosen("teacher.fine_tune") else _longer_teacher(figures)
        who = f"nor does the teacher predict {also_missed} of them"
    elif are_rare and figures.results.metric == "accuracy":
        changes, who = ("task.metric=macro_f1",), "they are rare, and accuracy hardly counts them"
    else:
        changes, who = train_longer(figures, "distill.prediction", prediction.training), "the teacher does predict them"
    yield Advice(
        sentence=f"The student never predicts {len(missed)}{of_classes} classes on {figures.split} ({names}); {who}.",
        changes=changes,
    )


def _still_improving(figures: RunFigures) -> Iterator[Advice]:
    training = figures.teacher_training
    gain = None if training is None else training_trends.last_gain(training, figures.num_dev_rows)
    if gain is not None:
        yield Advice(
            sentence=f"The teacher's dev score still rose by {gain:.3f} in its last epoch. Train it longer.",
            changes=_longer_teacher(figures),
        )
