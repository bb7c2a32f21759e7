"""Running one training stage: options in, trained weights out, resumable after a kill at any moment."""

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_model, save_model
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, TrainerState

from compress.batching import PaddingCollator
from compress.encoding import Encoded
from compress.errors import UserError
from compress.files import write_json
from compress.progress import ProgressBar
from compress.trainer import DistillationModel, DistillationTrainer

LOG_EVERY_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a stage trains. `warmup`: share of all steps; `max_steps` cuts the epochs short."""

    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float = 0.1
    decay: str = "linear"
    max_steps: int | None = None
    checkpoint_steps: int = 200

    def num_steps(self, num_rows: int) -> int:
        """Optimiser steps over so many rows; the last partial batch of an epoch counts."""
        return min(filter(None, [self.max_steps, self.epochs * math.ceil(num_rows / self.batch_size)]))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Under what name a stage trains, from which seed, and where it leaves what.

    `checkpoints`: when the folder holds a complete one, training goes on from there. `tensorboard`: its event files.
    """

    title: str
    seed: int
    checkpoints: Path
    tensorboard: Path | None = None
    console: Console = field(default_factory=lambda: Console(stderr=True))


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a stage leaves: loss curves as logged, the dev metric after each epoch, steps and seconds.

    After a kill, `seconds` counts from `resumed_at_step` on.
    """

    history: list[dict[str, float]]
    dev_scores: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    num_steps: int
    resumed_at_step: int = 0
    seconds: float


def machine_has_bf16() -> bool:
    """Whether bf16 matrix products run in hardware here."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def train(
    model: DistillationModel,
    data: Encoded,
    schedule: Schedule,
    setting: Setting,
    *,
    teacher: PreTrainedModel | None = None,
    layer_map: tuple[int, ...] = (),
    evaluate: Callable[[PreTrainedModel], float] | None = None,
) -> Trained:
    """Train `model` in place on `data`.

    Cut off and called again, it ends with the same weights as if it had not stopped. With `evaluate` (higher is
    better) the student is scored after each epoch, and ends with the weights of its best one. Raises UserError when
    the loss is no longer finite.
    """
    num_steps = schedule.num_steps(len(data.lengths))
    bar = ProgressBar(setting.title, setting.console)
    progress = _Progress(setting.title, bar)
    best = _BestEpoch(evaluate, setting.checkpoints / "best.safetensors") if evaluate else None
    callbacks: list[TrainerCallback] = [best] if best else []
    if setting.tensorboard is not None:
        callbacks.append(TensorBoardCallback(SummaryWriter(str(setting.tensorboard))))
    trainer = DistillationTrainer(
        model=model,
        teacher=teacher,
        layer_map=layer_map,
        lengths=data.lengths,
        args=_arguments(schedule, num_steps, setting),
        train_dataset=data.rows,
        data_collator=PaddingCollator(data.pad_token_id),
        callbacks=[*callbacks, progress],
    )
    trainer.remove_callback(PrinterCallback)
    started = time.perf_counter()
    with bar:
        _run(trainer, latest_checkpoint(setting.checkpoints), callbacks)
    seconds = time.perf_counter() - started
    if best is not None:
        best.restore(model.student)
    model.eval()
    return Trained(
        history=[entry for entry in trainer.state.log_history if "loss" in entry],
        dev_scores=best.scores if best else [],
        best_epoch=best.best_epoch if best else None,
        num_steps=trainer.state.global_step,
        resumed_at_step=progress.first_step,
        seconds=seconds,
    )


def _run(trainer: DistillationTrainer, checkpoint: str | None, callbacks: list[TrainerCallback]) -> None:
    """Train to the end. A checkpoint of the last step is loaded and no more: the trainer would go one step beyond."""
    if checkpoint is not None:
        state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
        if state.global_step >= trainer.args.max_steps:
            trainer._load_from_checkpoint(checkpoint)
            trainer.state = state
            for callback in callbacks:
                callback.on_train_begin(trainer.args, state, trainer.control, model=trainer.model)
            return
    trainer.train(resume_from_checkpoint=checkpoint)


def _arguments(schedule: Schedule, num_steps: int, setting: Setting) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(setting.checkpoints),
        num_train_epochs=schedule.epochs,
        max_steps=num_steps,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type=schedule.decay,
        warmup_steps=schedule.warmup,
        weight_decay=0.01,
        adam_epsilon=1e-6,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=machine_has_bf16(),
        use_cpu=not torch.cuda.is_available(),
        seed=setting.seed,
        save_strategy="steps",
        save_steps=schedule.checkpoint_steps,
        save_total_limit=1,
        logging_steps=LOG_EVERY_STEPS,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
    )
    # several GPUs of one process would get the teacher's outputs undivided: one process per GPU, under torchrun
    assert arguments.device is not None
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def latest_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint. The trainer's state is written last: without it, a save was cut off."""
    found = []
    for path in folder.glob("checkpoint-*"):
        try:
            json.loads((path / TRAINER_STATE_NAME).read_text())
        except (OSError, json.JSONDecodeError):
            shutil.rmtree(path, ignore_errors=True)
            continue
        found.append((int(path.name.rpartition("-")[2]), str(path)))
    return max(found)[1] if found else None


class _BestEpoch(TrainerCallback):
    """Scores the student on dev after each epoch and keeps the best epoch's weights beside the checkpoints."""

    def __init__(self, evaluate: Callable[[PreTrainedModel], float], path: Path) -> None:
        self.evaluate = evaluate
        self.path = path
        self.record = path.with_suffix(".json")
        self.scores: list[float] = []

    @property
    def best_epoch(self) -> int:
        """The first epoch, counted from 1, with the highest score."""
        return self.scores.index(max(self.scores)) + 1

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Take up the scores of the run that was cut off.

        Epochs after the checkpoint, scored already, would be scored to the same figures: they are kept. The epoch
        that ended with the checkpoint is scored now when the kill came in between.
        """
        if state.global_step == 0:
            return
        self.scores = json.loads(self.record.read_text()) if self.record.exists() else []
        ended = math.ceil(state.epoch) if state.global_step == state.max_steps else math.floor(state.epoch)
        if len(self.scores) < ended:
            self._score(model)

    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Score the epoch, unless that was done before a kill."""
        if math.ceil(state.epoch) > len(self.scores):
            self._score(model)

    def restore(self, student: PreTrainedModel) -> None:
        """Load the best epoch's weights back into the student."""
        load_model(student, str(self.path))

    def _score(self, model: DistillationModel) -> None:
        self.scores.append(self.evaluate(model.student))
        if self.best_epoch == len(self.scores):
            partial = self.path.with_suffix(".partial")
            save_model(model.student, str(partial))
            partial.replace(self.path)
        write_json(self.record, self.scores)


class _Progress(TrainerCallback):
    """Shows steps and losses, and stops the training when a loss is no longer finite."""

    def __init__(self, title: str, bar: ProgressBar) -> None:
        self.title = title
        self.bar = bar
        self.losses = ""
        self.first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say where training goes on from, if it was cut off."""
        self.first_step = state.global_step
        if state.global_step:
            self.bar.console.print(f"  {self.title}: resumes at step {state.global_step}")
        self.bar.update(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Take up the latest losses."""
        losses = {name: value for name, value in (logs or {}).items() if name.startswith("loss")}
        if not all(math.isfinite(value) for value in losses.values()):
            raise UserError(
                f"{self.title}: the loss is {losses['loss']} at step {state.global_step}; lower its learning_rate"
            )
        parts = {name.removeprefix("loss_"): value for name, value in losses.items() if name != "loss"}
        if parts:
            self.losses = " ".join(f"{name} {value:.3g}" for name, value in parts.items())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar."""
        self.bar.update(state.global_step, state.max_steps, self.losses)
