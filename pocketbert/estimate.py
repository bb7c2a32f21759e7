"""`pocketbert check`: what a run would do, how large everything is, and about how long it will take here."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from bench.threads import counts_up_to
from compress import locations, models
from compress.augment.words import load_stop_words, words_of
from compress.precision import Precision, autocast, cast_once
from compress.student import new_student
from compress.tasks import Task
from compress.training import fastest_attention
from export.candidates import HOP_ROWS
from export.variants import VARIANTS
from pocketbert.augment_keys import TrainHeadSection
from pocketbert.benchmark import num_threads_of
from pocketbert.corpora import named, texts_of
from pocketbert.exporting import TEACHER_ROWS
from pocketbert.plan import plan_of, remarks_on, shape_of
from pocketbert.preflight import read_encoder
from pocketbert.recipe import Recipe, grid_of, masked_lm_of
from pocketbert.runs import state_of
from pocketbert.stages import schedule_of
from pocketbert.training_keys import GeneralSection, StageSection

SAMPLED_TEXTS = 500
TIMED_TOKENS = 512
MOST_TEXTS_READ = 500_000  # of a corpus; of a larger one the estimate is too low
# found on runs of the quickstart: what is not arithmetic of the models
STAGE_S, WORKER_S = 5.0, 8.0  # to load models and data; to start and warm up a process that measures
HEAD = 1.3  # times a classifier's step, for the logits of all pieces
WRITTEN_S_A_TOKEN = 1e-5  # to draw a variant, write it and tokenise it
EMULATION_S = 15.0  # to emulate a processor that saturates, of each static variant
ALONE = 2.0  # a text run alone takes about twice as long as in a batch
TEXTS_A_ROUND, CALLS_A_LENGTH, CALLS_A_BATCH = 30 + 128, 10, 3
VISITS_A_ROUND, WAKE_S = 6, 0.1
COMPILING_S, LIMITS_S = 30.0, 6.0  # a model's, a bundle's


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What a stage goes over once an epoch."""

    num_rows: int
    tokens_a_row: float


@dataclass(frozen=True, kw_only=True)
class _Cost:
    """Seconds per token, measured here on models of the recipe's shapes.

    `forward`: as models are scored, in fp32; `frozen`: as the teacher is read in training, in the training's precision.
    """

    teacher_forward: float
    teacher_frozen: float
    teacher_step: float
    student_forward: float
    student_step: float


def examine(recipe: Recipe, task: Task, folder: Path) -> dict[str, Any]:
    """The resolved plan as plain values. Times are reckoned from a few batches of models of these very shapes."""
    name = recipe.teacher.model or recipe.teacher.base or ""
    config = AutoConfig.from_pretrained(locations.locate(name), num_labels=len(task.labels))
    teacher = AutoModelForSequenceClassification.from_config(config)
    student = new_student(shape_of(recipe), teacher, task.labels, architecture=recipe.student.architecture)
    tokens, num_letters = _token_counts(task, name)
    lengths = np.minimum(tokens, task.max_length)
    cost = _measure(teacher, student, lengths, recipe.training.precision)
    tokens_a_row = float(lengths.mean())
    seen = _rows_seen(recipe, task, tokens_a_row, letters_a_token=num_letters / tokens.sum())
    seconds = _seconds(recipe, task, cost, seen, tokens_a_row)
    stages = []
    for stage in plan_of(recipe, task):
        state = state_of(stage, folder)
        stages.append(
            {
                "name": stage.name,
                "state": state,
                "steps": _steps(recipe, stage.name, seen),
                "estimated_s": round(seconds[stage.name]) if state in ("to do", "begun") else 0,
            }
        )
    return {
        "name": recipe.name,
        "folder": str(folder),
        "labels": list(task.labels),
        "metric": recipe.task.metric,
        "rows": {"train": len(task.train), "dev": len(task.dev), "test": len(task.test)},
        "remarks": remarks_on(recipe, task),
        "tokens": {
            "median": float(np.median(tokens)),
            "longest": int(tokens.max()),
            "max_length": task.max_length,
            "share_cut": float((tokens > task.max_length).mean()),
        },
        "teacher": {"name": name, **_dimensions(teacher)},
        "student": {"name": _first_weights(recipe), **_dimensions(student)},
        "stages": stages,
        "variants": list(recipe.export.variants),
        "gate": list(recipe.gate.require),
    }


def _first_weights(recipe: Recipe) -> str:
    match recipe.student.initialisation:
        case "projected":
            return "first weights: the teacher's, projected"
        case "teacher_layers":
            return "first weights: layers of the teacher"
        case "checkpoint":
            return f"first weights: {recipe.student.checkpoint}"
    return "first weights: random"


def _dimensions(model: PreTrainedModel) -> dict[str, Any]:
    return {
        "architecture": model.config.model_type,
        "layers": model.config.num_hidden_layers,
        "width": model.config.hidden_size,
        "heads": model.config.num_attention_heads,
        "parameters": models.num_parameters(model),
    }


def _token_counts(task: Task, name: str) -> tuple[np.ndarray, int]:
    """Tokens of some train rows, before they are cut, and their letters in all."""
    tokenizer = models.load_tokenizer(name)
    texts = task.train.texts[:SAMPLED_TEXTS]
    pairs = task.train.pairs and task.train.pairs[:SAMPLED_TEXTS]
    rows = tokenizer(texts, pairs, truncation=False, verbose=False)["input_ids"]
    return np.array([len(row) for row in rows]), sum(map(len, texts)) + sum(map(len, pairs or []))


def _rows_seen(recipe: Recipe, task: Task, tokens_a_row: float, *, letters_a_token: float) -> dict[str, _Seen]:
    """What each training stage goes over; a long text of a corpus gives several rows."""
    rows = _Seen(num_rows=len(task.train), tokens_a_row=tokens_a_row)
    found = dict.fromkeys(("teacher", "intermediate", "prediction"), rows)
    if recipe.distill.general is not None:
        found["general"] = _blocks_of(recipe.distill.general, task, letters_a_token)
    if recipe.augment is not None:
        if recipe.augment.masked_lm.train_head is not None:
            found["masked_lm"] = _blocks_of(recipe.augment.masked_lm.train_head, task, letters_a_token)
        texts = 1 if task.train.pairs is None else 2
        all_rows = replace(rows, num_rows=len(task.train) * (1 + texts * recipe.augment.variants))
        found |= {"augment": all_rows, "intermediate": all_rows, "prediction": all_rows}
    return found


def _blocks_of(section: GeneralSection | TrainHeadSection, task: Task, letters_a_token: float) -> _Seen:
    with named(section):
        lengths = [len(text) for text in islice(texts_of(section, task), MOST_TEXTS_READ)]
    letters_a_row = section.max_length * letters_a_token
    num_rows = sum(1 + int(length / letters_a_row) for length in lengths)
    tokens = sum(lengths) / letters_a_token + 2 * num_rows
    return _Seen(num_rows=num_rows, tokens_a_row=tokens / max(1, num_rows))


def _masked_tokens(recipe: Recipe, task: Task, tokens_a_row: float) -> float:
    """What the masked language model reads: each text once for each of its words that may be replaced."""
    assert recipe.augment is not None
    stop_words = load_stop_words(recipe.augment.stop_words)
    texts = task.train.different_texts()
    some = texts[:SAMPLED_TEXTS]
    words = sum(word.replaceable for text in some for word in words_of(text, stop_words)) / len(some)
    tokens_a_text = tokens_a_row if task.train.pairs is None else tokens_a_row / 2
    return len(texts) * words * tokens_a_text


def _trainings(recipe: Recipe, stage: str) -> Sequence[StageSection]:
    """What a stage trains: nothing, once, or at each point of a search."""
    match stage:
        case "teacher":
            return [recipe.teacher.fine_tune] if recipe.teacher.model is None else []
        case "general":
            return [recipe.distill.general] if recipe.distill.general is not None else []
        case "masked_lm":
            head = recipe.augment.masked_lm.train_head if recipe.augment is not None else None
            return [head] if head is not None else []
        case "intermediate":
            return [recipe.distill.intermediate]
        case "prediction":
            return recipe.distill.prediction.points
    return []


def _steps(recipe: Recipe, stage: str, seen: dict[str, _Seen]) -> int | None:
    parts = _trainings(recipe, stage)
    return sum(schedule_of(part).num_steps(seen[stage].num_rows) for part in parts) if parts else None


def _seconds(recipe: Recipe, task: Task, cost: _Cost, seen: dict[str, _Seen], tokens_a_row: float) -> dict[str, float]:
    """Each stage's time: tokens times what a token costs, and a little for everything else."""
    dev, held_out = len(task.dev) * tokens_a_row, (len(task.dev) + len(task.test)) * tokens_a_row
    found: dict[str, float] = {}
    for stage in ("teacher", "general", "masked_lm", "intermediate", "prediction"):
        trainings = _trainings(recipe, stage)
        if not trainings:
            continue
        num_rows = seen[stage].num_rows
        tokens = epochs = 0.0
        for section in trainings:
            steps = schedule_of(section).num_steps(num_rows)
            scored_rows = len(task.train) if stage == "prediction" else num_rows  # the variants make no epoch longer
            epochs += 1 + (steps - 1) * section.batch_size // max(1, scored_rows)
            tokens += steps * min(section.batch_size, num_rows) * seen[stage].tokens_a_row
        match stage:
            case "teacher":
                found[stage] = tokens * cost.teacher_step + (epochs * dev + held_out) * cost.teacher_forward
            case "masked_lm":
                found[stage] = tokens * cost.teacher_step * HEAD * _masked_lm_size(recipe)
            case "prediction":
                logits = min(num_rows, tokens / tokens_a_row) * tokens_a_row * cost.teacher_frozen
                scored = epochs * dev + 2 * held_out
                found[stage] = logits + tokens * cost.student_step + scored * cost.student_forward
            case _:
                scored = 2 * held_out if stage == "intermediate" else 0.0
                found[stage] = tokens * (cost.teacher_frozen + cost.student_step) + scored * cost.student_forward
    found.setdefault("teacher", held_out * cost.teacher_forward)
    if recipe.augment is not None:
        written = seen["augment"].num_rows * tokens_a_row * WRITTEN_S_A_TOKEN
        flips = 0.0 if recipe.augment.drop_flips_above is None else seen["augment"].num_rows * tokens_a_row
        masked = _masked_tokens(recipe, task, tokens_a_row)
        # in fp32, unless the recipe asks for another
        reading = cost.teacher_forward if recipe.training.precision == "auto" else cost.teacher_frozen
        found["augment"] = written + masked * reading * _masked_lm_size(recipe) + flips * cost.teacher_frozen
    variants = len(recipe.export.variants)
    calibrated = sum(VARIANTS[name].is_calibrated for name in recipe.export.variants)
    rows = 2 * min(HOP_ROWS, len(task.dev)) + variants * (len(task.dev) + len(task.test))
    rows += calibrated * recipe.export.calibration_rows
    found["export"] = rows * tokens_a_row * ALONE * cost.student_forward + calibrated * EMULATION_S
    of_teacher = (2 + len(recipe.export.teacher_variants)) * min(TEACHER_ROWS, len(task.dev))
    if recipe.export.teacher_variants:
        found["export"] += of_teacher * tokens_a_row * ALONE * cost.teacher_forward + EMULATION_S
    grid = sum((CALLS_A_LENGTH if batch == 1 else CALLS_A_BATCH * batch) * length for batch, length in grid_of(recipe))
    a_round = TEXTS_A_ROUND * tokens_a_row + grid
    visits = VISITS_A_ROUND + len(grid_of(recipe))
    waking = recipe.bench.rounds * visits * min(WAKE_S, recipe.bench.warm_up_s / 10)
    measured = recipe.bench.rounds * a_round * ALONE + len(task.test) * tokens_a_row
    teachers = 1 + recipe.bench.compiled_teacher + len(recipe.export.teacher_variants)
    found["bench"] = measured * (teachers * cost.teacher_forward + (2 + variants) * cost.student_forward)
    starts = -(-recipe.bench.rounds // recipe.bench.restart_every)
    found["bench"] += (WORKER_S * starts + waking) * (2 + teachers + variants)
    found["bench"] += COMPILING_S * recipe.bench.compiled_teacher
    if recipe.bench.thread_sweep:
        found["bench"] *= 1 + len(counts_up_to(num_threads_of(recipe)))
    found["bench"] += LIMITS_S * recipe.bench.limits * (1 + variants)
    return {stage: seconds + STAGE_S for stage, seconds in found.items()}


def _masked_lm_size(recipe: Recipe) -> float:
    """The work of the masked language model over that of the teacher, by their layers and widths."""
    model, teacher = (
        read_encoder(name) for name in (masked_lm_of(recipe), recipe.teacher.model or recipe.teacher.base or "")
    )
    return model.layers * model.width**2 / (teacher.layers * teacher.width**2)


def _measure(teacher: PreTrainedModel, student: PreTrainedModel, lengths: np.ndarray, precision: Precision) -> _Cost:
    """Run small batches forward, and forward and back, as scoring and training would."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    num_tokens = int(lengths.mean())
    num_rows = max(8, min(32, TIMED_TOKENS // num_tokens))
    batch = {"input_ids": torch.zeros(num_rows, num_tokens, dtype=torch.long, device=device)}

    def timed(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def per_token(call: Callable[[], object]) -> float:
        timed(call)  # the first call allocates
        return median(timed(call) for _ in range(3)) / (num_rows * num_tokens)

    def forward(model: torch.nn.Module, how: Precision) -> float:
        def call() -> None:
            with torch.no_grad(), autocast(how):
                model(**batch)

        return per_token(call)

    def step(model: PreTrainedModel) -> float:
        def call() -> None:
            with autocast(precision):
                logits = model(**batch).logits
            logits.float().sum().backward()
            model.zero_grad()

        with fastest_attention(model, lengths, precision):
            return per_token(call)

    for model in (teacher, student):
        torch.nn.Module.to(model, device)
    return _Cost(
        teacher_forward=forward(teacher, "fp32"),
        teacher_frozen=forward(cast_once(teacher, precision), precision),
        teacher_step=step(teacher),
        student_forward=forward(student, "fp32"),
        student_step=step(student),
    )
