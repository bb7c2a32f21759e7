"""The teacher stage: fine-tune the base, or take the fine-tuned model of the recipe."""

from pathlib import Path

import numpy as np

from compress.data.label_order import label_doubt, require_label_order
from compress.distillation import stage_functions
from compress.models import loading
from compress.models.inference import predict_logits
from compress.results import TeacherResult
from pocketbert.data.table_labels import print_warning
from pocketbert.stage_parts.context import DEV_PREDICTIONS, StageContext
from pocketbert.stage_parts.trainings import new_teacher, schedule_of, train_context_of
from pocketbert.store.workspace import Workspace


def make_teacher(context: StageContext, workspace: Workspace) -> TeacherResult:
    """Fine-tune the base unless the recipe names a fine-tuned model. Save the teacher with its predictions on dev.

    If a search has just trained the chosen candidate in full, that model is the teacher: training it again would give
    the same weights.
    """
    section, training = context.recipe.teacher, None
    if section.model is not None:
        model = loading.load_classifier(section.model)
    elif context.resolved.searched is not None:
        model, training = loading.load_classifier(str(context.folder / "search" / "model")), context.resolved.searched
    else:
        model = new_teacher(context)
        training = stage_functions.fine_tune(
            model,
            context.data.encoded.train,
            schedule_of(section.fine_tune),
            train_context_of(context, workspace, "teacher"),
            context.data.dev_score,
            task_type=context.task.type,
        )
    dev_logits = predict_logits(model, context.data.encoded.dev)
    predictions = context.task_type.decide(dev_logits)
    if section.model is not None:
        task = context.task
        require_label_order(task.dev, predictions, task.labels, section.model, task.type)
        doubt = label_doubt(task.dev, predictions, task.labels, section.model, task.type)
        if doubt is not None:
            print_warning(doubt, context.console)

    def save(output: Path) -> None:
        loading.save_model(model, context.data.tokenizer, output / "model")
        np.save(output / DEV_PREDICTIONS, predictions)

    workspace.save(save)
    return TeacherResult(
        training=training,
        scores=context.data.scores(model, dev_logits=dev_logits),
        num_parameters=loading.num_parameters(model),
    )
