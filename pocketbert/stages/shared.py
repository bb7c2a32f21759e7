"""Parts that the training stages share: schedules, token blocks and the student before training. Loads torch."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.common.errors import UserError
from compress.data.token_blocks import write_token_blocks
from compress.data.tokenization import TokenDataset
from compress.distillation import stage_functions
from compress.distillation.objective import Objective
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models import loading
from compress.models.compatibility import LayerWeights
from pocketbert.data.corpora import error_context
from pocketbert.recipe.augmentation import TrainHeadSection
from pocketbert.recipe.training import GeneralSection, LayerWiseSection, StageSection
from pocketbert.stages.context import StageContext
from pocketbert.store.workspace import Workspace


def corpus_blocks(
    context: StageContext,
    workspace: Workspace,
    corpus: Iterable[str],
    section: GeneralSection | TrainHeadSection,
    tokenizer: PreTrainedTokenizerBase,
    *,
    kept_as: str = "blocks",
    at_least: int = 1,
) -> TokenDataset:
    """Running text as token blocks on disk. Raises UserError if it fills fewer blocks than `at_least`."""
    with error_context(section):
        texts = write_token_blocks(
            corpus,
            tokenizer,
            workspace.kept_path(kept_as),
            max_length=section.max_length,
            on_progress=lambda num_texts: context.console.print(f"  {kept_as}: {num_texts:,} texts read"),
        )
    if len(texts.lengths) < at_least:
        raise UserError(
            f"{section.key}.corpus: its text fills {len(texts.lengths)} of the {at_least} blocks of one batch "
            f"({section.max_length} tokens each); expected running text for thousands of blocks"
        )
    return texts


def train_context_of(context: StageContext, workspace: Workspace, title: str) -> TrainContext:
    """The context in which a stage of this run trains. `title`: names its progress bar and its loss curves."""
    compute = context.recipe.compute
    return TrainContext(
        title=title,
        seed=context.recipe.seed,
        checkpoints=workspace.checkpoints,
        tensorboard=context.folder / "tensorboard" / title,
        precision=compute.precision,
        compiled=compute.compile,
        console=context.console,
    )


def schedule_of(section: StageSection) -> Schedule:
    """The schedule in a section of the recipe."""
    return Schedule(**{field.name: getattr(section, field.name) for field in fields(Schedule)})


def initial_student(
    context: StageContext, teacher: PreTrainedModel, texts: TokenDataset
) -> stage_functions.StudentWithProjections:
    """The student before any training. `texts`: calibration texts of the projected initialisation."""
    student = context.recipe.student
    if student.checkpoint is not None:
        teacher_name = context.recipe.teacher.base or context.recipe.teacher.model or ""
        loading.require_equal_tokenizers(teacher_name, student.checkpoint)
    return stage_functions.initialise(
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


def load_student(context: StageContext, stage: str) -> stage_functions.StudentWithProjections:
    """The student of a finished layer-wise stage."""
    folder: Path = context.folder / stage / "model"
    width = context.data.teacher.config.hidden_size
    return stage_functions.load_learner(
        folder, context.task.labels, width, task_type=context.task.type, seed=context.recipe.seed
    )


def init_head(context: StageContext, learner: stage_functions.StudentWithProjections) -> bool:
    """Initialise the student's head from the teacher's. Returns False if it does not fit; the head is then random."""
    is_random = context.recipe.student.initialisation == "random"
    fits = not is_random and stage_functions.can_init_head_from_teacher(learner.student, context.data.teacher)
    if fits:
        stage_functions.init_head_from_teacher(
            learner, context.data.teacher, context.data.original_texts, seed=context.recipe.seed
        )
    return fits


def objective_of(section: LayerWiseSection) -> Objective:
    """The losses of a layer-wise stage, with their weights."""
    return Objective(
        embedding=section.embedding,
        hidden=_as_weights(section.hidden),
        attention=_as_weights(section.attention),
        relations=_as_weights(section.relations),
        relation_heads=section.relation_heads,
    )


def _as_weights(weights: LayerWeights) -> LayerWeights:
    return weights if isinstance(weights, float | int) else tuple(weights)
