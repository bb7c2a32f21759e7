"""Advice on a student that keeps too little of the teacher's score."""

from collections.abc import Iterator

from bench.advice import larger_student, training_trends
from bench.advice.advice import Advice, train_longer
from bench.advice.run_figures import RunFigures

FEW_PER_CLASS = 20  # train rows


def on_student(figures: RunFigures) -> Iterator[Advice]:
    """Longer training, another loss, a larger student or more rows; none for a student that is good enough."""
    if figures.is_poor:
        yield from _still_improving(figures)
        yield from _heads(figures)
        yield from _size(figures)
        yield from _few_rows(figures)


def _still_improving(figures: RunFigures) -> Iterator[Advice]:
    prediction = figures.stages.prediction
    if prediction is not None:
        gain = training_trends.last_gain(prediction.training, figures.num_dev_rows)
        drop = training_trends.loss_drop(prediction.training) if prediction.training.best_epoch != 0 else None
        if gain is not None or drop is not None:
            trend = (
                f"dev score still rose by {gain:.3f} in its last epoch"
                if gain is not None
                else f"loss still fell by {drop:.0%} in the last quarter of the prediction stage"
            )
            yield Advice(
                sentence=f"{figures.kept}, and its {trend}. Train it longer.",
                changes=train_longer(figures, "distill.prediction", prediction.training),
            )
    for section, stage in (
        ("distill.intermediate", figures.stages.intermediate),
        ("distill.general", figures.stages.general),
    ):
        drop = None if stage is None else training_trends.loss_drop(stage.training)
        if stage is not None and drop is not None:
            yield Advice(
                sentence=f"The loss of {section} still fell by {drop:.0%} in its last quarter. Train it longer.",
                changes=train_longer(figures, section, stage.training),
            )


def _heads(figures: RunFigures) -> Iterator[Advice]:
    run, teacher = figures.run, figures.run.teacher
    if teacher is None or teacher.heads == run.student.heads:
        return
    if figures.number("distill.intermediate.relations") == 0:
        yield Advice(
            sentence=f"The student has {run.student.heads} attention heads and the teacher {teacher.heads}, so its "
            "attention is not matched. The loss on relations works with any numbers of heads.",
            changes=("distill.intermediate.relations=1.0",),
        )


def _size(figures: RunFigures) -> Iterator[Advice]:
    if figures.setting("student.checkpoint"):
        return
    run = figures.run
    changes = larger_student.changes(run.student, run.teacher, figures.setting("student.preset"))
    if changes:
        of_teacher = "" if run.teacher is None else f" (the teacher: {larger_student.describe(run.teacher)})"
        yield Advice(
            sentence=f"{figures.kept} with {larger_student.describe(run.student)}{of_teacher}. Try a larger one.",
            changes=changes,
        )


def _few_rows(figures: RunFigures) -> Iterator[Advice]:
    classes, rows = max(1, len(figures.labels)), figures.run.num_rows.train
    if figures.stages.augment is not None or rows >= FEW_PER_CLASS * classes:
        return
    per_class = "" if classes == 1 else f", {rows / classes:.0f} per class"
    yield Advice(
        sentence=f"There are only {rows:,} train rows{per_class}. Augment them.",
        changes=("augment={copies_per_text: 10, masked_lm: {train_head: {corpus: task}}}",),
    )
