"""`pocketbert check`: the plan of a run, its sizes, and its duration, estimated from a few real steps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from datasets import Dataset
from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.results.document import SplitSizes
from compress.augmentation.mlm_head import train_head
from compress.data.tasks import Task
from compress.data.tokenization import TokenDataset, encode, encode_split, split_into_blocks, token_dataset
from compress.distillation import stage_functions
from compress.distillation.objective import Objective, Projections
from compress.distillation.training_loop import Schedule, TrainContext
from compress.models import loading
from compress.models.inference import predict_logits
from compress.models.student import new_student
from pocketbert.data.corpora import error_context, texts_of
from pocketbert.data.recipe_task import remarks_on
from pocketbert.pipeline.forecast import ModelSummary, RunForecast, StageForecast, TokenLengths
from pocketbert.pipeline.plan import StageName, plan_of
from pocketbert.recipe.augmentation import TrainHeadSection
from pocketbert.recipe.sections import Recipe, masked_lm_of
from pocketbert.recipe.training import GeneralSection, LayerWiseSection, StageSection
from pocketbert.stages.shared import objective_of, schedule_of
from pocketbert.store.run_folder import recorded_seconds, state_of

SAMPLED_TEXTS = 500
MAX_CORPUS_TEXTS = 500_000  # to count; the estimate is too low for a larger corpus
FIRST_STEPS, TIMED_STEPS = 2, 6  # the first steps are slower, because they allocate memory
TO_DO = ("to do", "begun")
QUIET = Console(quiet=True)


def _unscored(_: PreTrainedModel) -> float:
    """An evaluation that costs nothing: only the steps are timed."""
    return 0.0


def forecast(recipe: Recipe, task: Task, folder: Path, on_stage: Callable[[str], None]) -> RunForecast:
    """Resolve the plan, and time a few steps of each training stage to do. `on_stage` gets the name of each."""
    name = recipe.teacher.model or recipe.teacher.base or ""
    if recipe.teacher.model is not None:
        teacher = loading.load_classifier(name)
    else:
        teacher = loading.load_classifier(name, task.labels, task_type=task.type)
    student = new_student(
        recipe.student.shape, teacher, task.labels, task_type=task.type, architecture=recipe.student.architecture
    )
    tokens, num_letters = _token_counts(task, name)
    trainings = _trainings(recipe, task, teacher, student, letters_per_token=num_letters / tokens.sum())
    stages = []
    for stage in plan_of(recipe, task):
        state = state_of(stage, folder)
        seconds: float | None = 0.0
        training = trainings.get(stage.name)
        if state in TO_DO:
            on_stage(stage.name)
            seconds = recorded_seconds(folder, stage.name) if training is None else training.seconds()
        num_steps = None if training is None else training.num_steps
        stages.append(StageForecast(name=stage.name, state=state, num_steps=num_steps, estimated_s=seconds))
    return RunForecast(
        name=recipe.name,
        folder=str(folder),
        labels=list(task.labels),
        task_type=task.type,
        metric=recipe.task.metric,
        num_rows=SplitSizes(train=len(task.train), dev=len(task.dev), test=len(task.test)),
        remarks=remarks_on(recipe, task),
        tokens=TokenLengths(
            median=float(np.median(tokens)),
            longest=int(tokens.max()),
            max_length=task.max_length,
            share_cut=float((tokens > task.max_length).mean()),
        ),
        teacher=_summary(name, teacher),
        student=_summary(_first_weights(recipe), student),
        stages=stages,
        variants=list(recipe.export.variants),
        required=list(recipe.gate.require),
    )


@dataclass(frozen=True, kw_only=True)
class _Training:
    """A training stage to time on a sample of its rows.

    `sections`: its schedule, or one for each point of a grid search. `num_rows`: rows per epoch. `train`: trains on the
    sample. `passes`: the passes of a model over rows without training, as (model, sample of the rows, number of rows).
    """

    sections: Sequence[StageSection]
    num_rows: int
    train: Callable[[Schedule, TrainContext], object]
    passes: Sequence[tuple[PreTrainedModel, TokenDataset, int]] = ()

    @property
    def num_steps(self) -> int:
        """Optimiser steps, over all points of a grid search."""
        return sum(schedule_of(section).num_steps(self.num_rows) for section in self.sections)

    def seconds(self) -> float:
        """The estimated time of all steps and all passes."""
        steps_s = sum(self._step_seconds(each) * schedule_of(each).num_steps(self.num_rows) for each in self.sections)
        return steps_s + sum(_row_seconds(model, sample) * num_rows for model, sample, num_rows in self.passes)

    def _step_seconds(self, section: StageSection) -> float:
        """The time of a step, from two trainings of different length, which cancels the time before the first step."""
        elapsed = []
        with TemporaryDirectory() as folder:
            for num_steps in (FIRST_STEPS, FIRST_STEPS + TIMED_STEPS):
                schedule = replace(schedule_of(section), epochs=num_steps, max_steps=num_steps)
                context = TrainContext(title="timing", seed=0, checkpoints=Path(folder) / str(num_steps), console=QUIET)
                started = time.perf_counter()
                self.train(schedule, context)
                elapsed.append(time.perf_counter() - started)
        return max(0.0, elapsed[1] - elapsed[0]) / TIMED_STEPS


def _row_seconds(model: PreTrainedModel, sample: TokenDataset) -> float:
    started = time.perf_counter()
    predict_logits(model, sample)
    return (time.perf_counter() - started) / len(sample.lengths)


def _trainings(
    recipe: Recipe, task: Task, teacher: PreTrainedModel, student: PreTrainedModel, *, letters_per_token: float
) -> dict[StageName, _Training]:
    """The training stages of the recipe, on models of its shapes: weights do not affect the time of a step."""
    tokenizer = loading.load_tokenizer(recipe.teacher.model or recipe.teacher.base or "")
    order = np.random.default_rng(recipe.seed).permutation(len(task.train))[:SAMPLED_TEXTS]
    rows = encode_split(task.train.take(np.sort(order)), tokenizer, max_length=task.max_length)
    texts = rows.without_column("labels")
    copies_per_text = 0 if recipe.augment is None else recipe.augment.copies_per_text
    num_rows = len(task.train) * (1 + copies_per_text * (1 if task.train.pairs is None else 2))
    learner = stage_functions.StudentWithProjections(
        student=student, projections=Projections(student.config.hidden_size, teacher.config.hidden_size)
    )
    held_out = len(task.dev) + len(task.test)
    precision = recipe.compute.precision

    def in_precision(context: TrainContext) -> TrainContext:
        return replace(context, precision=precision)

    def layers(section: LayerWiseSection, data: TokenDataset) -> Callable[[Schedule, TrainContext], object]:
        return lambda schedule, context: stage_functions.distill_layers(
            learner,
            teacher,
            data,
            objective_of(section),
            schedule,
            in_precision(context),
            layer_map=recipe.distill.layer_map,
        )

    def logits(schedule: Schedule, context: TrainContext) -> object:
        values = np.zeros((len(texts.lengths), len(task.labels)), dtype=np.float32)
        objective = Objective(prediction=1.0, task_type=task.type)
        return stage_functions.distill_logits(
            student, values, texts, objective, schedule, in_precision(context), _unscored, epoch_rows=num_rows
        )

    def labels(schedule: Schedule, context: TrainContext) -> object:
        return stage_functions.fine_tune(teacher, rows, schedule, in_precision(context), _unscored, task_type=task.type)

    intermediate, prediction = recipe.distill.intermediate, recipe.distill.prediction
    dev_passes = sum(section.epochs for section in prediction.points) * len(task.dev)
    trainings: dict[StageName, _Training] = {
        "teacher": _Training(
            sections=[recipe.teacher.fine_tune] if recipe.teacher.model is None else [],
            num_rows=len(task.train),
            train=labels,
            passes=[(teacher, texts, held_out + recipe.teacher.fine_tune.epochs * len(task.dev))],
        ),
        "intermediate": _Training(
            sections=[intermediate],
            num_rows=num_rows,
            train=layers(intermediate, texts),
            passes=[(student, texts, 2 * held_out)],
        ),
        "prediction": _Training(
            sections=prediction.points,
            num_rows=num_rows,
            train=logits,
            passes=[(teacher, texts, num_rows), (student, texts, 2 * held_out + dev_passes)],
        ),
    }
    if recipe.distill.general is not None:
        general = recipe.distill.general
        blocks, num_blocks = _blocks(general, task, tokenizer, letters_per_token)
        trainings |= {"general": _Training(sections=[general], num_rows=num_blocks, train=layers(general, blocks))}
    if recipe.augment is not None and recipe.augment.masked_lm.train_head is not None:
        section, name = recipe.augment.masked_lm.train_head, masked_lm_of(recipe)
        mlm_tokenizer = loading.load_tokenizer(name)
        blocks, num_blocks = _blocks(section, task, mlm_tokenizer, letters_per_token)
        model = loading.load_masked_lm(name, new_head=True)
        mlm_held_out = blocks.take(np.arange(min(8, len(blocks.lengths))))
        trainings["masked_lm"] = _Training(
            sections=[section],
            num_rows=num_blocks,
            train=lambda schedule, context: train_head(
                model, mlm_tokenizer, blocks, mlm_held_out, schedule, in_precision(context), frozen=section.frozen
            ),
        )
    return trainings


def _blocks(
    section: GeneralSection | TrainHeadSection,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    letters_per_token: float,
) -> tuple[TokenDataset, int]:
    """Token blocks of the first texts of a corpus, and an estimate of the number of blocks of the whole corpus."""
    with error_context(section):
        lengths = [len(text) for text in islice(texts_of(section, task), MAX_CORPUS_TEXTS)]
        ids = split_into_blocks(
            list(islice(texts_of(section, task), SAMPLED_TEXTS)), tokenizer, max_length=section.max_length
        )
    rows = Dataset.from_dict({"input_ids": ids})
    num_blocks = sum(1 + int(length / (section.max_length * letters_per_token)) for length in lengths)
    return token_dataset(rows, np.array([len(each) for each in ids]), tokenizer), num_blocks


def _first_weights(recipe: Recipe) -> str:
    match recipe.student.initialisation:
        case "projected":
            return "first weights: the teacher's, projected"
        case "teacher_layers":
            return "first weights: layers of the teacher"
        case "checkpoint":
            return f"first weights: {recipe.student.checkpoint}"
    return "first weights: random"


def _summary(name: str, model: PreTrainedModel) -> ModelSummary:
    return ModelSummary(
        name=name,
        architecture=model.config.model_type,
        layers=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        heads=model.config.num_attention_heads,
        num_parameters=loading.num_parameters(model),
    )


def _token_counts(task: Task, name: str) -> tuple[np.ndarray, int]:
    """The token counts of a sample of train rows, before truncation, and the total number of their letters."""
    tokenizer = loading.load_tokenizer(name)
    texts = task.train.texts[:SAMPLED_TEXTS]
    pairs = task.train.pairs and task.train.pairs[:SAMPLED_TEXTS]
    rows = encode(tokenizer, texts, pairs, truncation=False, verbose=False)["input_ids"]
    return np.array([len(row) for row in rows]), sum(map(len, texts)) + sum(map(len, pairs or []))
