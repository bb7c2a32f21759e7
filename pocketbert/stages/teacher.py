"""The teacher stage: fine-tune the base, or take the fine-tuned model of the recipe."""

import torch

from compress.data.label_order import label_doubt, require_label_order
from compress.distillation import stage_functions
from compress.models import loading
from compress.models.inference import predict_logits
from compress.results import TeacherResult
from pocketbert.data.table_labels import print_warning
from pocketbert.stages.context import StageContext
from pocketbert.stages.shared import schedule_of, train_context_of
from pocketbert.store.workspace import Workspace


def make_teacher(context: StageContext, workspace: Workspace) -> TeacherResult:
    """Fine-tune the base unless the recipe names a fine-tuned model. Save the teacher and score it."""
    section, training = context.recipe.teacher, None
    if section.model is not None:
        model = loading.load_classifier(section.model)
        predictions = context.task_type.decide(predict_logits(model, context.data.encoded.dev))
        task = context.task
        require_label_order(task.dev, predictions, task.labels, section.model, task.type)
        doubt = label_doubt(task.dev, predictions, task.labels, section.model, task.type)
        if doubt is not None:
            print_warning(doubt, context.console)
    else:
        torch.manual_seed(context.recipe.seed)
        model = loading.load_classifier(section.base or "", context.task.labels, task_type=context.task.type)
        training = stage_functions.fine_tune(
            model,
            context.data.encoded.train,
            schedule_of(section.fine_tune),
            train_context_of(context, workspace, "teacher"),
            context.data.dev_score,
            task_type=context.task.type,
        )
    workspace.save(lambda output: loading.save_model(model, context.data.tokenizer, output / "model"))
    return TeacherResult(
        training=training, scores=context.data.scores(model), num_parameters=loading.num_parameters(model)
    )
