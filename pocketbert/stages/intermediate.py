"""Task distillation, first step: the student learns the layers of the fine-tuned teacher on the task's texts."""

from compress.distillation import stage_functions
from compress.results import IntermediateResult, SplitScores, TrainingResult
from pocketbert.stage_parts.context import StageContext
from pocketbert.stage_parts.trainings import (
    init_head,
    initial_student,
    load_student,
    objective_of,
    schedule_of,
    train_context_of,
)
from pocketbert.store.workspace import Workspace


def distill_intermediate(context: StageContext, workspace: Workspace) -> IntermediateResult:
    """Train the general student, or a new one, on the teacher's layers. Save its encoder and projections."""
    if context.recipe.distill.general is None:
        learner = initial_student(context, context.data.teacher, context.data.original_texts)
    else:
        learner = load_student(context, "general")
    section = context.recipe.distill.intermediate
    before = _scores_with_teachers_head(context, learner)
    training, after = TrainingResult(history=[], num_steps=0, seconds=0.0), before
    if section.epochs != 0:
        training = stage_functions.distill_layers(
            learner,
            context.data.teacher,
            context.data.training_texts,
            objective_of(section, learner.student.config, context.data.teacher.config),
            schedule_of(section),
            train_context_of(context, workspace, "intermediate"),
            layer_map=context.recipe.distill.layer_map,
        )
        after = _scores_with_teachers_head(context, learner)
    workspace.save(lambda output: learner.save_encoder(output / "model", context.data.tokenizer))
    return IntermediateResult(training=training, scores_before=before, scores=after)


def _scores_with_teachers_head(
    context: StageContext, learner: stage_functions.StudentWithProjections
) -> SplitScores | None:
    """The scores of the encoder with the teacher's head, projected to its width; None if that head does not fit."""
    return context.data.scores(learner.student) if init_head(context, learner) else None
