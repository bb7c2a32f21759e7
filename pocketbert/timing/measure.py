"""Times the training stages of a recipe on this machine, with models of its shapes. Loads torch."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from transformers import PreTrainedModel, TrainerCallback

from compress.augmentation.mlm_head import MaskedLanguageModel
from compress.data.tokenization import TokenDataset
from compress.distillation import layer_outputs
from compress.distillation.objective import DistillationModel, Objective, Projections, TrainingModule
from compress.distillation.training_loop import Schedule, TrainContext, train
from compress.distillation.used_embeddings import only_used_rows, used_token_ids
from compress.models import loading
from compress.models.inference import predict_logits
from compress.models.precision import Precision
from compress.models.shape import map_layers
from pocketbert.recipe.sections import Recipe, masked_lm_of
from pocketbert.recipe.training import LayerWiseSection
from pocketbert.stage_parts.trainings import objective_of, with_rounding
from pocketbert.timing.amounts import Speeds, batch_sizes, section_of
from pocketbert.timing.step_cost import ForwardCost, StepCost
from pocketbert.timing.step_timing import Stopwatch, Train, time_forward, time_steps

DISTURBED_ROWS = 32  # a pass over them with all threads shows how much other programs slow it down
FORWARD_SHARE = 8  # of the time, each model's forward passes take this part


@dataclass(frozen=True, kw_only=True)
class Materials:
    """The models and the rows to time. Weights do not affect the time of a step.

    `rows`: labelled train rows. `blocks`: token blocks of the stages on running text. `num_rows`: of the whole table.
    """

    teacher: PreTrainedModel
    student: PreTrainedModel
    rows: TokenDataset
    blocks: Mapping[str, TokenDataset]
    num_rows: int


def measure_speeds(
    recipe: Recipe,
    materials: Materials,
    stages: Iterable[str],
    *,
    limit_s: float,
    stopwatch: Stopwatch,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Speeds:
    """Time forward passes of both models, and steps of the training stages among `stages`, in about `limit_s`.

    `on_stage`: gets the name of each stage.
    """
    deadline = stopwatch.clock() + limit_s
    texts = materials.rows.without_column("labels")
    on_stage("forward passes")
    teacher, student = (
        time_forward(
            model,
            texts,
            precision=recipe.compute.precision,
            limit_s=limit_s / FORWARD_SHARE,
            stopwatch=stopwatch,
        )
        for model in (materials.teacher, materials.student)
    )
    some = texts.take(np.arange(min(DISTURBED_ROWS, len(texts.lengths))))
    quiet_s = teacher.single_s + teacher.per_token_s * float(some.lengths.sum())
    stopwatch.disturbed(lambda: predict_logits(materials.teacher, some), quiet_s)
    timed = [stage for stage in _timed_stages(stages) if section_of(stage, recipe) is not None]
    steps: dict[str, StepCost] = {}
    for number, stage in enumerate(timed):
        on_stage(stage)
        section = section_of(stage, recipe)
        assert section is not None
        steps[stage] = time_steps(
            _train_of(stage, recipe, materials),
            _rows_of(stage, recipe, materials),
            batch_size=max(batch_sizes(section)),
            micro_batch_size=section.micro_batch_size,
            forward_s=_forward_seconds(stage, teacher, student),
            limit_s=limit_s * (1 - 2 / FORWARD_SHARE) / len(timed),
            deadline=deadline - max(0.0, deadline - stopwatch.clock()) * (1 - 1 / (len(timed) - number)),
            stopwatch=stopwatch,
        )
    return Speeds(steps=steps, teacher=teacher, student=student, slowdown=stopwatch.slowdown)


def _timed_stages(stages: Iterable[str]) -> list[str]:
    """Each stage once. A search takes steps of the teacher."""
    return list(dict.fromkeys("teacher" if stage == "search" else stage for stage in stages))


def _rows_of(stage: str, recipe: Recipe, materials: Materials) -> TokenDataset:
    match stage:
        case "teacher":
            return materials.rows
        case "prediction":
            num_outputs = int(materials.student.config.num_labels or 1)
            logits = np.zeros((len(materials.rows.lengths), num_outputs), dtype=np.float32)
            return materials.rows.without_column("labels").with_column("teacher_logits", logits)
        case "intermediate":
            return materials.rows.without_column("labels")
    return materials.blocks[stage]


def _forward_seconds(stage: str, teacher: ForwardCost, student: ForwardCost) -> float:
    """Roughly the seconds per token of a step's forward pass, with a part of the teacher's pass if it has one."""
    match stage:
        case "teacher" | "masked_lm":
            return teacher.per_token_s
        case "prediction":
            return student.per_token_s
    return student.per_token_s + teacher.per_token_s / 2


def _train_of(stage: str, recipe: Recipe, materials: Materials) -> Train:
    """A function that trains the stage's model, without scores on dev."""
    teacher, student, task_type = materials.teacher, materials.student, recipe.task.task_type
    section = section_of(stage, recipe)
    precision = recipe.compute.precision
    used = _used_tokens(stage, materials)
    match stage:
        case "teacher":
            labels = DistillationModel(teacher, None, Objective(labels=1.0, task_type=task_type))
            return partial(_train, labels, used, precision, nullcontext)
        case "prediction":
            logits = DistillationModel(student, None, Objective(prediction=1.0, task_type=task_type))
            return partial(_train, logits, used, precision, partial(with_rounding, recipe, student))
        case "masked_lm":
            assert recipe.augment is not None and recipe.augment.masked_lm.train_head is not None
            name = masked_lm_of(recipe)
            model = MaskedLanguageModel(
                loading.load_masked_lm(name, new_head=True),
                loading.load_tokenizer(name),
                frozen=recipe.augment.masked_lm.train_head.frozen,
                seed=0,
            )
            return partial(_train, model, None, precision, nullcontext)
    assert isinstance(section, LayerWiseSection)
    projections = Projections(student.config.hidden_size, teacher.config.hidden_size)
    layers = map_layers(recipe.distill.layer_map, recipe.student.shape.layers, teacher.config.num_hidden_layers)
    learner = DistillationModel(student, projections, objective_of(section, student.config, teacher.config))
    return partial(_train_layers, learner, used, precision, teacher, layers)


def _train(
    model: TrainingModule,
    used: np.ndarray | None,
    precision: Precision,
    rounding: Callable[[], AbstractContextManager],
    rows: TokenDataset,
    schedule: Schedule,
    context: TrainContext,
    callback: TrainerCallback,
) -> None:
    """Train as a stage does, with an embedding for the tokens of the whole table. `rounding`: a context to train in."""
    with ExitStack() as stack:
        stack.enter_context(rounding())
        if used is not None:
            stack.enter_context(only_used_rows(model.student, used))
        context = replace(context, precision=precision)
        train(model, rows, schedule, context, whole_embedding=True, callbacks=[callback])


def _train_layers(
    model: DistillationModel,
    used: np.ndarray,
    precision: Precision,
    teacher: PreTrainedModel,
    layers: tuple[int, ...],
    rows: TokenDataset,
    schedule: Schedule,
    context: TrainContext,
    callback: TrainerCallback,
) -> None:
    """Train as a layer-wise stage does."""
    with (
        layer_outputs.readable(model.student, teacher, model.requested_outputs, layers),
        only_used_rows(model.student, used),
    ):
        train(
            model,
            rows,
            schedule,
            replace(context, precision=precision),
            teacher=teacher,
            layer_map=layers,
            whole_embedding=True,
            callbacks=[callback],
        )


def _used_tokens(stage: str, materials: Materials) -> np.ndarray:
    """Token ids as numerous as those of the whole table. Their number grows with the root of the rows (Heaps' law).

    They include those of the blocks of a stage on running text.
    """
    rows, vocab_size = materials.rows, materials.student.config.vocab_size
    used = used_token_ids(rows, vocab_size)
    if stage in materials.blocks:
        used = np.union1d(used, used_token_ids(materials.blocks[stage], vocab_size))
    growth = (materials.num_rows / len(rows.lengths)) ** 0.5
    others = np.setdiff1d(np.arange(vocab_size), used, assume_unique=True)
    return np.sort(np.concatenate([used, others[: int(len(used) * (growth - 1))]]))
