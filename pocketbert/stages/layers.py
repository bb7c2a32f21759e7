"""What the two layer-wise stages, general and intermediate, have in common: the student's start, and its losses."""

from pathlib import Path

from transformers import PreTrainedModel

from compress.data.tokenization import Encoded
from compress.distillation import steps
from compress.distillation.objective import LayerWeights, Objective
from compress.models import loading
from pocketbert.recipe.training import LayerWiseSection
from pocketbert.stages.context import StageContext


def new_learner(context: StageContext, teacher: PreTrainedModel, texts: Encoded) -> steps.Learner:
    """The student before any training, as the recipe says. `texts`: what projected initialisation looks at."""
    student = context.recipe.student
    if student.checkpoint is not None:
        named = context.recipe.teacher.base or context.recipe.teacher.model or ""
        loading.require_equal_tokenizers(named, student.checkpoint)
    return steps.initialise(
        student.initialisation,
        student.shape,
        teacher,
        context.task.labels,
        texts,
        task_type=context.task.type,
        seed=context.recipe.seed,
        layer_map=context.recipe.distill.layer_map,
        projection_per_layer=context.recipe.distill.projection == "per_layer",
        dropout=student.dropout,
        architecture=student.architecture,
        checkpoint=student.checkpoint,
    )


def load_learner(context: StageContext, stage: str) -> steps.Learner:
    """The student as a layer-wise stage left it."""
    folder: Path = context.folder / stage / "model"
    width = context.data.teacher.config.hidden_size
    return steps.load_learner(folder, context.task.labels, width, task_type=context.task.type, seed=context.recipe.seed)


def take_head(context: StageContext, learner: steps.Learner) -> bool:
    """Start the student's head from the teacher's, where it can be; else it has random weights."""
    random = context.recipe.student.initialisation == "random"
    can = not random and steps.can_take_head(learner.student, context.data.teacher)
    if can:
        steps.take_head(learner, context.data.teacher, context.data.original_texts, seed=context.recipe.seed)
    return can


def objective_of(section: LayerWiseSection) -> Objective:
    """What a layer-wise stage matches, and with which weights."""
    return Objective(
        embedding=section.embedding,
        hidden=_as_weights(section.hidden),
        attention=_as_weights(section.attention),
        relations=_as_weights(section.relations),
        relation_heads=section.relation_heads,
    )


def _as_weights(weights: float | list[float]) -> LayerWeights:
    return tuple(weights) if isinstance(weights, list) else weights
