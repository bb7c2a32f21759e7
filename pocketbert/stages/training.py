"""What the training stages share: schedules and settings, token blocks, the student before training. Loads torch."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.common.errors import UserError
from compress.data.token_blocks import write_token_blocks
from compress.data.tokenization import TokenDataset
from compress.distillation import steps
from compress.distillation.objective import LayerWeights, Objective
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models import loading
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
    """Running text as token blocks on disk. Raises UserError where it makes fewer than `at_least`."""
    with error_context(section):
        texts = write_token_blocks(
            corpus,
            tokenizer,
            workspace.kept(kept_as),
            max_length=section.max_length,
            on_progress=lambda num_texts: context.console.print(f"  {kept_as}: {num_texts:,} texts read"),
        )
    if len(texts.lengths) < at_least:
        raise UserError(
            f"{section.key}.corpus: its text makes {len(texts.lengths)} of the {at_least} blocks of one batch "
            f"({section.max_length} tokens each); expected running text, thousands of blocks"
        )
    return texts


def train_context_of(context: StageContext, workspace: Workspace, title: str) -> TrainContext:
    """How a stage of this run trains, under the name that `title` gives its progress and curves."""
    training = context.recipe.training
    return TrainContext(
        title=title,
        seed=context.recipe.seed,
        checkpoints=workspace.checkpoints,
        tensorboard=context.folder / "tensorboard" / title,
        precision=training.precision,
        compiled=training.compile,
        console=context.console,
    )


def schedule_of(section: StageSection) -> Schedule:
    """A stage's section of the recipe, as the trainer takes it."""
    return Schedule(**{field.name: getattr(section, field.name) for field in fields(Schedule)})


def initial_student(
    context: StageContext, teacher: PreTrainedModel, texts: TokenDataset
) -> steps.StudentWithProjections:
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


def load_student(context: StageContext, stage: str) -> steps.StudentWithProjections:
    """The student as a layer-wise stage left it."""
    folder: Path = context.folder / stage / "model"
    width = context.data.teacher.config.hidden_size
    return steps.load_learner(folder, context.task.labels, width, task_type=context.task.type, seed=context.recipe.seed)


def init_head(context: StageContext, learner: steps.StudentWithProjections) -> bool:
    """Start the student's head from the teacher's, where it can be; else it has random weights."""
    random = context.recipe.student.initialisation == "random"
    can = not random and steps.can_init_head_from_teacher(learner.student, context.data.teacher)
    if can:
        steps.init_head_from_teacher(
            learner, context.data.teacher, context.data.original_texts, seed=context.recipe.seed
        )
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
