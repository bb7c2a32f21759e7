"""The training stages of a run, as functions of models and rows: fine-tune, general, intermediate, prediction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_model, save_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.common.errors import raise_any
from compress.data.batching import PaddingCollator, read_rows
from compress.data.task_types import TaskTypeName
from compress.data.tokenization import TokenDataset
from compress.distillation import layer_outputs
from compress.distillation.objective import DistillationModel, Objective, Projections
from compress.distillation.projected_initialisation import project_head, project_teacher
from compress.distillation.training_loop import Schedule, TrainContext, train
from compress.models import loading
from compress.models.architectures import capabilities_of
from compress.models.compatibility import (
    EncoderFacts,
    Initialisation,
    attention_problems,
    checkpoint_problems,
    relation_problems,
    student_kind_problems,
    weight_problems,
)
from compress.models.layout import encoder_modules
from compress.models.shape import LayerMap, StudentShape, map_layers
from compress.models.sources import locate
from compress.models.student import Architecture, copy_teacher_layers, new_student
from compress.results import TrainingResult

CALIBRATION_TOKENS = 8000
PROJECTIONS_FILE = "projections.safetensors"


@dataclass(frozen=True, kw_only=True)
class StudentWithProjections:
    """A student on its way, and the projections that layer-wise stages train along with it."""

    student: PreTrainedModel
    projections: Projections

    def save_encoder(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write a Hugging Face folder without a head, which only the prediction stage trains, and the projections."""
        loading.save_model(self.student.base_model, tokenizer, folder)
        save_model(self.projections, str(folder / PROJECTIONS_FILE))


def load_learner(
    folder: Path, labels: tuple[str, ...], teacher_width: int, *, task_type: TaskTypeName, seed: int
) -> StudentWithProjections:
    """Read back what `StudentWithProjections.save_encoder` wrote, under a head with random weights."""
    torch.manual_seed(seed)
    student = _load_student(str(folder), labels, task_type)
    return StudentWithProjections(student=student, projections=_load_projections(folder, student, teacher_width))


def _load_projections(folder: Path, student: PreTrainedModel, teacher_width: int) -> Projections:
    file = folder / PROJECTIONS_FILE
    with safe_open(file, framework="pt") as tensors:
        num_hidden = sum(name.startswith("hidden.") for name in tensors.keys())  # noqa: SIM118 (no mapping)
    projections = Projections(student.config.hidden_size, teacher_width, num_hidden=num_hidden)
    load_model(projections, str(file))
    return projections


def initialise(
    how: Initialisation,
    shape: StudentShape,
    teacher: PreTrainedModel,
    labels: tuple[str, ...],
    calibration: TokenDataset,
    *,
    task_type: TaskTypeName,
    seed: int,
    layer_map: LayerMap = "uniform",
    projection_per_layer: bool = False,
    dropout: float = 0.0,
    architecture: Architecture = "bert",
    checkpoint: str | None = None,
) -> StudentWithProjections:
    """A student before any training. `calibration`: the rows that projected initialisation looks at."""
    torch.manual_seed(seed)
    mapped = map_layers(layer_map, shape.layers, teacher.config.num_hidden_layers)
    num_hidden = shape.layers if projection_per_layer else 1
    projections = Projections(shape.width, teacher.config.hidden_size, num_hidden=num_hidden)
    if how == "checkpoint":
        assert checkpoint is not None
        student = _load_student(checkpoint, labels, task_type)
        raise_any(checkpoint_problems(checkpoint, _facts_of(student), shape, _facts_of(teacher)))
        folder = Path(locate(checkpoint))
        if (folder / PROJECTIONS_FILE).exists():
            learned = _load_projections(folder, student, teacher.config.hidden_size)
            if len(learned.hidden) == num_hidden:
                projections = learned
        return StudentWithProjections(student=student, projections=projections)
    student = new_student(shape, teacher, labels, task_type=task_type, dropout=dropout, architecture=architecture)
    match how:
        case "projected":
            batches = calibration_batches(calibration, seed)
            projections.start_from(project_teacher(student, teacher, mapped, batches, seed=seed))
        case "teacher_layers":
            copy_teacher_layers(student, teacher, mapped)
            projections.start_from(torch.eye(shape.width))
        case "random":
            pass
    return StudentWithProjections(student=student, projections=projections)


def can_init_head_from_teacher(student: PreTrainedModel, teacher: PreTrainedModel) -> bool:
    """Whether the teacher's head can be cut down to the student's width: of the same form, the student no wider."""
    if student.config.hidden_size > teacher.config.hidden_size:
        return False
    if not capabilities_of(teacher.config.model_type).has_takeable_head:
        return False
    return encoder_modules(teacher).head is not None and encoder_modules(student).head is not None


def init_head_from_teacher(
    learner: StudentWithProjections, teacher: PreTrainedModel, calibration: TokenDataset, *, seed: int
) -> None:
    """Start the student's head from that of the fine-tuned teacher, through W_h as learned so far, in place."""
    project_head(
        learner.student,
        teacher,
        learner.projections.last_hidden,
        calibration_batches(calibration, seed),
    )


def distill_layers(
    learner: StudentWithProjections,
    teacher: PreTrainedModel,
    data: TokenDataset,
    objective: Objective,
    schedule: Schedule,
    setting: TrainContext,
    *,
    layer_map: LayerMap = "uniform",
) -> TrainingResult:
    """A layer-wise stage, in place: general distillation on running text, or intermediate layers on the task's.

    Raises UserError where the objective or the layer map does not suit the two models.
    """
    ours, theirs = _facts_of(learner.student), _facts_of(teacher)
    problems = attention_problems(ours.heads, theirs.heads) if objective.reads.scores else []
    problems += relation_problems(objective.relation_heads, ours.width, theirs.width)
    for weights in (objective.hidden, objective.attention, objective.relations):
        problems += weight_problems(weights, ours.layers)
    raise_any(problems)
    mapped = map_layers(layer_map, ours.layers, theirs.layers)
    exposed = [learner.student, teacher] if objective.reads.scores or objective.reads.vectors else []
    with layer_outputs.capture_attention_scores(*exposed), layer_outputs.first_layers_only(teacher, max(mapped)):
        return train(
            DistillationModel(learner.student, learner.projections, objective),
            data,
            schedule,
            setting,
            teacher=teacher,
            layer_map=mapped,
        )


def distill_logits(
    student: PreTrainedModel,
    teacher_logits: np.ndarray,
    data: TokenDataset,
    objective: Objective,
    schedule: Schedule,
    setting: TrainContext,
    evaluate: Callable[[PreTrainedModel], float],
    *,
    epoch_rows: int | None = None,
) -> TrainingResult:
    """The prediction layer, in place. `teacher_logits`: (rows, classes), computed once for all epochs.

    `epoch_rows`: after how many rows the student is scored; default: all.
    """
    return train(
        DistillationModel(student, None, objective),
        data.with_column("teacher_logits", teacher_logits),
        schedule,
        setting,
        evaluate=evaluate,
        epoch_rows=epoch_rows,
    )


def fine_tune(
    model: PreTrainedModel,
    data: TokenDataset,
    schedule: Schedule,
    setting: TrainContext,
    evaluate: Callable[[PreTrainedModel], float],
    *,
    task_type: TaskTypeName,
) -> TrainingResult:
    """Plain fine-tuning against the labels, in place: how a teacher is made from its base."""
    return train(
        DistillationModel(model, None, Objective(labels=1.0, task_type=task_type)),
        data,
        schedule,
        setting,
        evaluate=evaluate,
    )


def _load_student(name: str, labels: tuple[str, ...], task_type: TaskTypeName) -> PreTrainedModel:
    student = loading.load_classifier(name, labels, task_type=task_type)
    raise_any(student_kind_problems(name, student.config.model_type))
    return student


def _facts_of(model: PreTrainedModel) -> EncoderFacts:
    return EncoderFacts.of_config(model.config.to_dict())


def calibration_batches(data: TokenDataset, seed: int, *, batch_size: int = 32) -> Sequence[dict[str, torch.Tensor]]:
    """A few thousand tokens of the data, drawn by the seed, in batches of like length."""
    order = np.random.default_rng(seed).permutation(len(data.lengths))
    enough = int(np.searchsorted(np.cumsum(np.array(data.lengths)[order]), CALIBRATION_TOKENS)) + 1
    chosen = sorted(order[:enough].tolist(), key=lambda row: data.lengths[row])
    inputs, collate = data.rows.select_columns(data.input_names), PaddingCollator(data.pad_token_id)
    return [
        collate(read_rows(inputs, chosen[start : start + batch_size])) for start in range(0, len(chosen), batch_size)
    ]
