"""Parts that the training stages share: schedules, token blocks and the student before training. Loads torch."""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from compress.common.errors import Diverged, UserError
from compress.data.token_blocks import write_token_blocks
from compress.data.tokenization import TokenDataset
from compress.distillation import stage_functions
from compress.distillation.objective import Objective
from compress.distillation.successive_halving import (
    DIVERGED,
    Candidate,
    Trained,
    best_of,
    candidate_of,
    num_search_steps,
    successive_halving,
)
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models import loading
from compress.models.architectures import capabilities_of
from compress.models.compatibility import LayerWeights
from compress.quantisation.simulation import Rounding, simulated_quantisation
from compress.results import SearchPoint
from export.quantisation.variants import largest_weight
from pocketbert.data.corpora import error_context
from pocketbert.recipe.augmentation import TrainHeadSection
from pocketbert.recipe.choices import candidates_of
from pocketbert.recipe.sections import TASK_STAGES, Recipe
from pocketbert.recipe.training import GeneralSection, LayerWiseSection, SearchableSection, StageSection
from pocketbert.stage_parts.context import StageContext
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
        seed=context.task_seed if title in TASK_STAGES else context.recipe.seed,
        checkpoints=workspace.checkpoints,
        metric=context.recipe.task.metric,
        tensorboard=context.folder / "tensorboard" / title,
        precision=compute.precision,
        compiled=compute.compile,
        console=context.console,
    )


def schedule_of(section: StageSection) -> Schedule:
    """The schedule in a section of the recipe, without `auto` values."""
    known = {field.name for field in fields(Schedule)} & type(section).model_fields.keys()
    return Schedule(**{name: getattr(section, name) for name in known})


def candidate_training(
    context: StageContext, workspace: Workspace, title: str, section: StageSection, candidate: Candidate
) -> tuple[Schedule, TrainContext]:
    """The schedule of a candidate of a search, and the context of its training, with checkpoints of its own."""
    schedule = replace(schedule_of(section), **asdict(candidate))
    train_context = train_context_of(context, workspace, title)
    name = f"rate-{candidate.learning_rate:g}-batch-{candidate.batch_size}"
    return schedule, replace(
        train_context,
        title=f"{title}, rate {candidate.learning_rate:g}",
        checkpoints=train_context.checkpoints / name,
        tensorboard=context.folder / "tensorboard" / title / name,
    )


def new_teacher(context: StageContext) -> PreTrainedModel:
    """The base with a new head, whose weights depend on the seed only."""
    torch.manual_seed(context.recipe.seed)
    return loading.load_classifier(context.recipe.teacher.base or "", context.task.labels, task_type=context.task.type)


def search_candidates(
    context: StageContext,
    workspace: Workspace,
    title: str,
    section: SearchableSection,
    num_rows: int,
    train: Callable[[Candidate, int], Trained],
    after_round: Callable[[list[SearchPoint]], None] = lambda points: None,
) -> tuple[Candidate, list[SearchPoint]]:
    """Announce and do the search of a section. Returns the best candidate and all points.

    `num_rows`: of the full training. `train`: trains a candidate until a step. `after_round` gets all points
    after each round. The search continues where an interrupted one stopped.
    """

    def train_or_diverge(candidate: Candidate, steps: int) -> Trained:
        try:
            return train(candidate, steps)
        except Diverged:
            return DIVERGED

    candidates = candidates_of(section)
    full_steps = schedule_of(section).num_steps(num_rows)
    rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(each.learning_rate for each in candidates))
    context.console.print(
        f"  {title}: compares the learning rates {rates} in at most {num_search_steps(len(candidates), full_steps)} "
        f"steps, with the full training of the best one, {full_steps} steps. Ctrl-C ends the comparison and keeps the "
        "best one so far.",
        soft_wrap=True,
    )
    points = successive_halving(
        candidates,
        full_steps,
        train_or_diverge,
        file=workspace.kept_path("points").with_suffix(".json"),
        on_point=_point_printer(context, title),
        after_round=after_round,
        on_interrupt=lambda: context.console.print(
            f"  {title}: Ctrl-C: the comparison ends with the best candidate so far; another Ctrl-C stops the run",
            soft_wrap=True,
        ),
    )
    return best_of(points), points


def _point_printer(context: StageContext, title: str) -> Callable[[SearchPoint, int], None]:
    """A function that prints a point of a search, with the time that the search still takes."""
    started, steps_at_first = time.perf_counter(), list[int]()

    def print_point(point: SearchPoint, steps_left: int) -> None:
        steps_at_first.append(steps_left)
        done = steps_at_first[0] - steps_left
        left_s = (time.perf_counter() - started) / done * steps_left if done else 0.0
        left = f"; about {left_s:.0f} s left" if left_s else ""
        context.console.print(
            f"  {title}: {candidate_of(point).description}, {point.num_steps} steps: dev "
            f"{context.recipe.task.metric} {point.dev_score:.3f}{left}",
            soft_wrap=True,
        )

    return print_point


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
        seed=context.recipe.seed if context.recipe.distill.general is not None else context.task_seed,
        layer_map=context.recipe.distill.layer_map,
        projection_per_layer=context.recipe.distill.projection == "per_layer",
        dropout=student.dropout,
        architecture=student.architecture,
        activation=student.activation,
        checkpoint=student.checkpoint,
    )


def load_student(context: StageContext, stage: str) -> stage_functions.StudentWithProjections:
    """The student of a finished layer-wise stage."""
    folder: Path = context.folder / stage / "model"
    width = context.data.teacher.config.hidden_size
    return stage_functions.load_learner(
        folder, context.task.labels, width, task_type=context.task.type, seed=context.task_seed
    )


def init_head(context: StageContext, learner: stage_functions.StudentWithProjections) -> bool:
    """Initialise the student's head from the teacher's. Returns False if it does not fit; the head is then random."""
    is_random = context.recipe.student.initialisation == "random"
    fits = not is_random and stage_functions.can_init_head_from_teacher(learner.student, context.data.teacher)
    if fits:
        stage_functions.init_head_from_teacher(
            learner, context.data.teacher, context.data.original_texts, seed=context.task_seed
        )
    return fits


def with_rounding(recipe: Recipe, student: PreTrainedModel) -> AbstractContextManager:
    """Inside this context, the student computes with the rounding of the variant that the prediction stage names."""
    variant = recipe.distill.prediction.quantisation
    if variant is None:
        return nullcontext()
    bits = 4 if variant == "int4-static" else 8
    largest = largest_weight(reduced=recipe.export.reduce_range)
    return simulated_quantisation(student, Rounding(weight_bits=bits, embedding_bits=bits, largest_weight=largest))


def objective_of(section: LayerWiseSection, student: PretrainedConfig, teacher: PretrainedConfig) -> Objective:
    """The losses of a layer-wise stage, with their weights.

    By default, attention is matched head by head if both models have equally many, and otherwise by relations.
    """
    has_equal_heads = student.num_attention_heads == teacher.num_attention_heads
    attention, relations = section.attention, section.relations
    if relations is None:
        relations = float(attention is None and not has_equal_heads)
    if attention is None:
        attention = capabilities_of(teacher.model_type).attention_weight if has_equal_heads else 0.0
    return Objective(
        embedding=section.embedding,
        hidden=_as_weights(section.hidden),
        attention=_as_weights(attention),
        relations=_as_weights(relations),
        relation_heads=section.relation_heads,
    )


def _as_weights(weights: LayerWeights) -> LayerWeights:
    return weights if isinstance(weights, float | int) else tuple(weights)
