"""The training stages as functions of models and rows: fine-tuning, layer-wise and prediction-layer distillation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_model, save_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.common.errors import UserError, library_errors, raise_any
from compress.data.batching import PaddingCollator, read_rows
from compress.data.task_types import TaskTypeName
from compress.data.tokenization import TokenDataset
from compress.distillation import layer_outputs
from compress.distillation.objective import DistillationModel, Objective, Projections
from compress.distillation.projected_initialisation import project_head, project_teacher
from compress.distillation.training_loop import Schedule, TrainContext, train
from compress.models import loading
from compress.models.architectures import Architecture, capabilities_of
from compress.models.compatibility import (
    Activation,
    EncoderFacts,
    Initialisation,
    attention_problems,
    checkpoint_problems,
    relation_problems,
    student_architecture_problems,
    weight_problems,
)
from compress.models.layout import encoder_modules
from compress.models.shape import LayerMap, StudentShape, map_layers
from compress.models.sources import locate
from compress.models.student import copy_teacher_layers, new_student
from compress.results import TrainingResult

CALIBRATION_TOKENS = 8000
PROJECTIONS_FILE = "projections.safetensors"


@dataclass(frozen=True, kw_only=True)
class StudentWithProjections:
    """A student in training, with the projections that layer-wise stages train together with it."""

    student: PreTrainedModel
    projections: Projections

    def save_encoder(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write the projections, and the encoder as a Hugging Face folder. Only the prediction stage trains a head."""
        loading.save_model(self.student.base_model, tokenizer, folder)
        save_model(self.projections, str(folder / PROJECTIONS_FILE))


def load_learner(
    folder: Path, labels: tuple[str, ...], teacher_width: int, *, task_type: TaskTypeName, seed: int
) -> StudentWithProjections:
    """Read a folder that `StudentWithProjections.save_encoder` wrote. The head gets random weights from `seed`."""
    torch.manual_seed(seed)
    student = _load_student(str(folder), labels, task_type)
    return StudentWithProjections(
        student=student, projections=load_projections(folder, student.config.hidden_size, teacher_width)
    )


def load_projections(folder: Path, width: int, teacher_width: int) -> Projections:
    """The projections that `StudentWithProjections.save_encoder` wrote.

    `width`: of the student. Raises UserError if they are damaged or do not fit the student and the teacher.
    """
    file = folder / PROJECTIONS_FILE
    damaged = library_errors(f"{file}: the projections cannot be read", advice="copy or make the checkpoint again")
    with damaged, safe_open(file, framework="pt") as tensors:
        num_hidden = sum(name.startswith("hidden.") for name in tensors.keys())  # noqa: SIM118 (no mapping)
    projections = Projections(width, teacher_width, num_hidden=num_hidden)
    with library_errors(f"{file}: the projections do not fit the student and the teacher"):
        load_model(projections, str(file))
    if not all(torch.isfinite(weight).all() for weight in projections.parameters()):
        raise UserError(f"{file}: the projections contain NaN or infinity; copy or make the checkpoint again")
    return projections


def initialise(
    initialisation: Initialisation,
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
    activation: Activation | None = None,
    checkpoint: str | None = None,
) -> StudentWithProjections:
    """A new student. Raises UserError if the student does not fit the teacher.

    `calibration`: rows whose activations projected initialisation uses. `activation`: by default that of the teacher
    whose weights it gets, otherwise gelu. `checkpoint`: the name of the model to load for
    the initialisation "checkpoint". Its saved projections are used if there are as many as requested.
    """
    torch.manual_seed(seed)
    mapped_layers = map_layers(layer_map, shape.layers, teacher.config.num_hidden_layers)
    num_hidden = shape.layers if projection_per_layer else 1
    projections = Projections(shape.width, teacher.config.hidden_size, num_hidden=num_hidden)
    if initialisation == "checkpoint":
        assert checkpoint is not None
        student = _load_student(checkpoint, labels, task_type)
        raise_any(checkpoint_problems(checkpoint, _facts_of(student), shape, _facts_of(teacher)))
        folder = Path(locate(checkpoint))
        if (folder / PROJECTIONS_FILE).exists():
            saved = load_projections(folder, student.config.hidden_size, teacher.config.hidden_size)
            if len(saved.hidden) == num_hidden:
                projections = saved
        return StudentWithProjections(student=student, projections=projections)
    student = new_student(
        shape,
        teacher,
        labels,
        task_type=task_type,
        dropout=dropout,
        architecture=architecture,
        activation=activation or ("gelu" if initialisation == "random" else None),
    )
    match initialisation:
        case "projected":
            batches = calibration_batches(calibration, seed)
            projections.start_from(project_teacher(student, teacher, mapped_layers, batches, seed=seed))
        case "teacher_layers":
            copy_teacher_layers(student, teacher, mapped_layers)
            projections.start_from(torch.eye(shape.width))
        case "random":
            pass
    return StudentWithProjections(student=student, projections=projections)


def can_init_head_from_teacher(student: PreTrainedModel, teacher: PreTrainedModel) -> bool:
    """Whether both heads have the same form and the student is no wider than the teacher."""
    if student.config.hidden_size > teacher.config.hidden_size:
        return False
    if not capabilities_of(teacher.config.model_type).head_can_be_projected:
        return False
    return encoder_modules(teacher).head is not None and encoder_modules(student).head is not None


def init_head_from_teacher(
    learner: StudentWithProjections, teacher: PreTrainedModel, calibration: TokenDataset, *, seed: int
) -> None:
    """Initialise the student's head, in place, from the fine-tuned teacher's head and the trained W_h."""
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
    context: TrainContext,
    *,
    layer_map: LayerMap = "uniform",
) -> TrainingResult:
    """Train a student, in place, with layer-wise losses.

    General distillation does this on running text, intermediate-layer distillation on the texts of the task. Raises
    UserError if the objective or the layer map does not fit the two models.
    """
    student_facts, teacher_facts = _facts_of(learner.student), _facts_of(teacher)
    requested = objective.requested_outputs
    problems = attention_problems(student_facts.heads, teacher_facts.heads) if requested.scores else []
    problems += relation_problems(objective.relation_heads, student_facts.width, teacher_facts.width)
    for weights in (objective.hidden, objective.attention, objective.relations):
        problems += weight_problems(weights, student_facts.layers)
    raise_any(problems)
    mapped_layers = map_layers(layer_map, student_facts.layers, teacher_facts.layers)
    with layer_outputs.readable(learner.student, teacher, requested, mapped_layers):
        return train(
            DistillationModel(learner.student, learner.projections, objective),
            data,
            schedule,
            context,
            teacher=teacher,
            layer_map=mapped_layers,
        )


def distill_logits(
    student: PreTrainedModel,
    teacher_logits: np.ndarray,
    data: TokenDataset,
    objective: Objective,
    schedule: Schedule,
    context: TrainContext,
    evaluate: Callable[[PreTrainedModel], float],
    *,
    epoch_rows: int | None = None,
    stop_at: int | None = None,
) -> TrainingResult:
    """Train a student, in place, with prediction-layer losses.

    `teacher_logits`: (rows, classes), computed once for all epochs. `epoch_rows`: rows between two evaluations of the
    student, by default all. `stop_at`: as in `train`.
    """
    return train(
        DistillationModel(student, None, objective),
        data.with_column("teacher_logits", teacher_logits),
        schedule,
        context,
        evaluate=evaluate,
        epoch_rows=epoch_rows,
        stop_at=stop_at,
    )


def fine_tune(
    model: PreTrainedModel,
    data: TokenDataset,
    schedule: Schedule,
    context: TrainContext,
    evaluate: Callable[[PreTrainedModel], float],
    *,
    task_type: TaskTypeName,
    stop_at: int | None = None,
) -> TrainingResult:
    """Fine-tune a model on the labels, in place. This makes a teacher from its base model. `stop_at`: as in `train`."""
    return train(
        DistillationModel(model, None, Objective(labels=1.0, task_type=task_type)),
        data,
        schedule,
        context,
        evaluate=evaluate,
        stop_at=stop_at,
    )


def _load_student(name: str, labels: tuple[str, ...], task_type: TaskTypeName) -> PreTrainedModel:
    student = loading.load_classifier(name, labels, task_type=task_type)
    raise_any(student_architecture_problems(name, student.config.model_type))
    return student


def _facts_of(model: PreTrainedModel) -> EncoderFacts:
    return EncoderFacts.of_config(model.config.to_dict())


def calibration_batches(data: TokenDataset, seed: int, *, batch_size: int = 32) -> Sequence[dict[str, torch.Tensor]]:
    """Batches of rows of similar length, which together have a few thousand tokens. The seed selects the rows."""
    order = np.random.default_rng(seed).permutation(len(data.lengths))
    num_rows = int(np.searchsorted(np.cumsum(np.array(data.lengths)[order]), CALIBRATION_TOKENS)) + 1
    selected = sorted(order[:num_rows].tolist(), key=lambda row: data.lengths[row])
    inputs, collate = data.rows.select_columns(data.input_names), PaddingCollator(data.pad_token_id)
    return [
        collate(read_rows(inputs, selected[start : start + batch_size]))
        for start in range(0, len(selected), batch_size)
    ]
