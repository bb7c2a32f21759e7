"""The search stage: trainings of the teacher that choose the learning rate and the batch size of fine-tuning."""

import time
from dataclasses import asdict
from functools import partial

import numpy as np
from transformers import PreTrainedModel

from compress.common.errors import NotGoodEnough
from compress.distillation import stage_functions
from compress.distillation.successive_halving import Candidate, Trained
from compress.label_signal import signal_p_value
from compress.models import loading
from compress.models.inference import predict_logits
from compress.results import SearchPoint, SearchResult, TrainingResult
from pocketbert.stage_parts.context import CONTINUE, DEV_SCORES, StageContext
from pocketbert.stage_parts.trainings import candidate_training, new_teacher, schedule_of, search_candidates
from pocketbert.store.workspace import Workspace

NO_SIGNAL = 0.01  # p-value above which outputs may say nothing about the labels


def search_schedule(context: StageContext, workspace: Workspace) -> SearchResult:
    """Compare the candidates of the recipe by their results on dev. Save the best model if its training is complete.

    Raises NotGoodEnough after the first round if nothing has learned anything about the labels.
    """
    task, data, section = context.task, context.data, context.recipe.teacher.fine_tune
    num_rows = len(task.train)

    def fine_tuned(candidate: Candidate, stop_at: int) -> tuple[PreTrainedModel, TrainingResult]:
        model = new_teacher(context)
        schedule, train_context = candidate_training(context, workspace, "search", section, candidate)
        training = stage_functions.fine_tune(
            model,
            data.encoded.train,
            schedule,
            train_context,
            data.dev_score,
            task_type=task.type,
            stop_at=stop_at,
        )
        return model, training

    trained = dict[Candidate, TrainingResult]()
    started, num_steps = time.perf_counter(), 0

    def train(candidate: Candidate, stop_at: int) -> Trained:
        nonlocal num_steps
        model, training = fine_tuned(candidate, stop_at)
        trained[candidate] = training
        num_steps += training.num_steps - training.resumed_at_step
        return data.dev_results(predict_logits(model, data.encoded.dev))

    best, points = search_candidates(
        context, workspace, "search", section, num_rows, train, after_round=partial(_require_signal, context)
    )
    seconds_per_step = (time.perf_counter() - started) / num_steps if num_steps else None
    training = None
    full_steps = schedule_of(section).num_steps(num_rows)
    if max(point.num_steps or 0 for point in points) == full_steps:
        model, loaded = fine_tuned(best, full_steps)  # loads the checkpoint at the end of its training
        training = trained.get(best, loaded)
        workspace.save(lambda output: loading.save_model(model, data.tokenizer, output / "model"))
    return SearchResult(points=points, **asdict(best), training=training, seconds_per_step=seconds_per_step)


def _require_signal(context: StageContext, points: list[SearchPoint]) -> None:
    """Raise NotGoodEnough if the outputs of the baseline and of all trainings fit the dev labels only by chance."""
    scores, task = context.folder / "baseline" / DEV_SCORES, context.task
    if not context.recipe.gate.teacher_over_baseline or not scores.exists():  # a part of a run has no baseline
        return
    baseline = signal_p_value(task.type, task.dev.labels, np.load(scores))
    teacher = min(point.p_value for point in points if point.p_value is not None)
    if baseline > NO_SIGNAL and teacher > NO_SIGNAL / len(points):
        raise NotGoodEnough(
            f"no model learns these labels from these texts: on {len(task.dev):,} dev rows, TF-IDF and {len(points)} "
            f"trainings of the teacher fit the labels no better than chance (p = {baseline:.2g} and {teacher:.2g}); "
            f"check that texts and labels belong together; {CONTINUE}"
        )
