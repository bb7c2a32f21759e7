"""Compares students of several shapes by how near their last layer comes to the teacher's after equal steps."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from transformers import PreTrainedModel

from compress.data.batching import PaddingCollator, read_rows
from compress.data.tasks import Task
from compress.data.tokenization import TokenDataset, encode_split
from compress.distillation import auto_schedule, layer_outputs, stage_functions
from compress.distillation.objective import DistillationModel, Objective
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models import loading
from compress.models.shape import StudentShape, map_layers
from pocketbert.recipe.sections import Recipe
from pocketbert.stage_parts.trainings import objective_of

BATCH_SIZE, HELD_OUT = 32, 256


def last_layer_losses(
    shapes: Sequence[StudentShape], recipe: Recipe, task: Task, *, steps: int, console: Console
) -> list[float]:
    """The hidden-state loss of each student's last layer, on train rows that it was not trained on.

    Each student starts as its projected teacher, and trains for `steps` steps of 32 rows with the losses of the
    intermediate stage. The last layer is comparable between shapes: its states are projected to the teacher's width,
    and the head reads no other.
    """
    name = recipe.teacher.model or recipe.teacher.base or ""
    teacher = loading.load_classifier(name, None if recipe.teacher.model else task.labels, task_type=task.type)
    texts = encode_split(task.train, loading.load_tokenizer(name), max_length=task.max_length).without_column("labels")
    order = np.random.default_rng(recipe.seed).permutation(len(texts.lengths))
    held_out = min(HELD_OUT, len(order) // 2)
    trained, others = texts.take(order[held_out:]), texts.take(order[:held_out])
    losses = []
    for shape in shapes:
        with TemporaryDirectory() as folder:
            losses.append(_loss_of(shape, recipe, task, teacher, trained, others, steps, Path(folder), console))
    return losses


def _loss_of(
    shape: StudentShape,
    recipe: Recipe,
    task: Task,
    teacher: PreTrainedModel,
    trained: TokenDataset,
    others: TokenDataset,
    steps: int,
    folder: Path,
    console: Console,
) -> float:
    section = recipe.distill.intermediate
    layer_map = recipe.distill.layer_map if isinstance(recipe.distill.layer_map, str) else "uniform"
    learner = stage_functions.initialise(
        "random" if recipe.student.initialisation == "random" else "projected",
        shape,
        teacher,
        task.labels,
        trained,
        task_type=task.type,
        seed=recipe.seed,
        layer_map=layer_map,
        activation=recipe.student.activation,
    )
    rate = section.learning_rate or auto_schedule.layer_wise_rate(shape.width)
    context = TrainContext(
        title=f"{shape.layers} x {shape.width}",
        seed=recipe.seed,
        checkpoints=folder,
        precision=recipe.compute.precision,
        console=console,
    )
    objective = objective_of(section, learner.student.config, teacher.config)
    if not all(_is_number(each) for each in (objective.hidden, objective.attention, objective.relations)):
        objective = replace(objective, hidden=1.0, attention=0.0, relations=1.0)  # its weights are for another depth
    stage_functions.distill_layers(
        learner,
        teacher,
        trained,
        objective,
        Schedule(epochs=steps, batch_size=BATCH_SIZE, learning_rate=rate, max_steps=steps),
        context,
        layer_map=layer_map,
    )
    mapped = map_layers(layer_map, shape.layers, teacher.config.num_hidden_layers)
    weights = (*[0.0] * (shape.layers - 1), 1.0)
    return _held_out_loss(DistillationModel(learner.student, learner.projections, Objective(hidden=weights)), teacher,
                          mapped, others)  # fmt: skip


def _is_number(weights: object) -> bool:
    return isinstance(weights, float | int)


@torch.no_grad()
def _held_out_loss(
    model: DistillationModel, teacher: PreTrainedModel, mapped: tuple[int, ...], texts: TokenDataset
) -> float:
    model.eval().to("cpu")
    teacher.eval()
    collate, inputs = PaddingCollator(texts.pad_token_id), texts.rows.select_columns(texts.input_names)
    losses = []
    for start in range(0, len(texts.lengths), BATCH_SIZE):
        numbers = np.arange(start, min(start + BATCH_SIZE, len(texts.lengths)))
        batch = collate(read_rows(inputs, numbers))
        outputs = layer_outputs.read(teacher, batch, model.requested_outputs).of_layers(mapped)
        losses.append(model(teacher=outputs, **batch)["hidden"])
    return float(torch.cat(losses).mean())
