"""Running one training stage: options in, trained weights out, resumable after a kill at any moment."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, TrainerState

from compress.common import distributed
from compress.common.errors import UserError
from compress.common.progress import ProgressBar
from compress.data.batching import LengthBucketedBatchSampler, PaddingCollator
from compress.data.tokenization import TokenDataset
from compress.distillation import layer_outputs
from compress.distillation.callbacks import BestEpoch, Checkpoints, Progress, latest_checkpoint
from compress.distillation.objective import TrainingModule
from compress.distillation.trainer import DistillationTrainer
from compress.distillation.used_embeddings import only_used_rows, tokens_in
from compress.models.precision import HALF, Precision, resolve_precision
from compress.results import LossEntry, TrainingResult

LOG_EVERY_STEPS = 20
PLAIN_ATTENTION_UP_TO = 256  # tokens


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a stage trains.

    `batch_size`: examples of an optimiser step, over all processes; `micro_batch_size`: how many of them a process
    takes at once. `warmup`: share of all steps; `max_steps` cuts the epochs short.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float = 0.1
    decay: str = "linear"
    max_steps: int | None = None
    checkpoint_steps: int = 200
    micro_batch_size: int | None = None

    def num_steps(self, num_rows: int) -> int:
        """Optimiser steps over so many rows; the last partial batch of an epoch counts."""
        return min(filter(None, [self.max_steps, self.epochs * math.ceil(num_rows / self.batch_size)]))


def rows_seen(lengths: np.ndarray, schedule: Schedule, *, seed: int) -> np.ndarray:
    """The numbers of the rows that a stage will train on, in order: not all, where `max_steps` cuts its first epoch."""
    num_steps = schedule.num_steps(len(lengths))
    if num_steps * schedule.batch_size >= len(lengths):
        return np.arange(len(lengths))
    batches = LengthBucketedBatchSampler(lengths, batch_size=schedule.batch_size, seed=seed)
    return np.unique(np.concatenate(list(islice(batches, num_steps))))


@dataclass(frozen=True, kw_only=True)
class TrainContext:
    """Under what name a stage trains, from which seed, how it computes, and where it leaves what.

    `checkpoints`: when the folder holds a complete one, training goes on from there. `tensorboard`: its event files.
    `compiled`: through torch.compile.
    """

    title: str
    seed: int
    checkpoints: Path
    precision: Precision = "auto"
    compiled: bool = False
    tensorboard: Path | None = None
    console: Console = field(default_factory=lambda: Console(stderr=True))


def train(
    model: TrainingModule,
    data: TokenDataset,
    schedule: Schedule,
    setting: TrainContext,
    *,
    teacher: PreTrainedModel | None = None,
    layer_map: tuple[int, ...] = (),
    whole_embedding: bool = False,
    evaluate: Callable[[PreTrainedModel], float] | None = None,
    epoch_rows: int | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> TrainingResult:
    """Train `model` in place on `data`.

    Cut off and called again, it ends with the same weights as if it had not stopped. With `evaluate` (higher is
    better) the student is scored after each epoch, and ends with the weights of its best one; `epoch_rows`: how many
    rows make an epoch in this, where `data` is larger than the data set it was made from. `whole_embedding`: also
    of pieces that `data` does not use, as where the embedding is the head's matrix too. `callbacks` are called beside
    our own. Raises UserError when the loss is no longer finite.
    """
    num_steps = schedule.num_steps(len(data.lengths))
    bar = ProgressBar(setting.title, setting.console)
    progress = Progress(setting.title, bar)
    epoch_steps = math.ceil((epoch_rows or len(data.lengths)) / schedule.batch_size)
    kept = setting.checkpoints / "best.safetensors"
    best = BestEpoch(evaluate, kept, epoch_steps=epoch_steps) if evaluate else None
    resumable = [*([best] if best else []), *callbacks]
    if setting.tensorboard is not None and distributed.is_main():
        resumable.append(TensorBoardCallback(SummaryWriter(str(setting.tensorboard))))
    started = time.perf_counter()
    embedding: AbstractContextManager = nullcontext()
    if not whole_embedding:
        embedding = only_used_rows(model.student, tokens_in(data, model.student.config.vocab_size))
    attention = fastest_attention(model.student, data.lengths, setting.precision)
    with bar, embedding, attention:
        trainer = DistillationTrainer(
            model=model,
            teacher=teacher,
            layer_map=layer_map,
            lengths=data.lengths,
            batch_size=schedule.batch_size,
            micro_batch_size=schedule.micro_batch_size,
            args=arguments(schedule, num_steps, setting, model),
            train_dataset=data.rows,
            data_collator=PaddingCollator(data.pad_token_id),
            callbacks=[*resumable, progress, Checkpoints()],
        )
        trainer.remove_callback(PrinterCallback)
        _run(trainer, latest_checkpoint(setting.checkpoints), [*resumable, progress], setting.title)
        if best is not None:
            best.restore(model.student)
    model.eval()
    return TrainingResult(
        history=[LossEntry.of_log(entry) for entry in trainer.state.log_history if "loss" in entry],
        dev_scores=best.scores if best else [],
        best_epoch=best.best_epoch if best else None,
        num_steps=trainer.state.global_step,
        resumed_at_step=progress.first_step,
        seconds=time.perf_counter() - started,
    )


def fastest_attention(model: PreTrainedModel, lengths: np.ndarray, precision: Precision) -> AbstractContextManager:
    """Inside, the model attends in the way that trains fastest on texts of these lengths, in tokens.

    On a CPU in bf16, the backward pass of torch's own attention takes 2 to 10 times as long as plain products do.
    """
    slow = model.config._attn_implementation == "sdpa" and not torch.cuda.is_available()
    if slow and resolve_precision(precision) == "bf16" and np.quantile(lengths, 0.9) <= PLAIN_ATTENTION_UP_TO:
        return layer_outputs.using_attention("eager", model)
    return nullcontext()


def _run(
    trainer: DistillationTrainer, checkpoint: str | None, callbacks: Sequence[TrainerCallback], title: str
) -> None:
    """Train to the end. A checkpoint of the last step is loaded and no more: the trainer would go one step beyond."""
    if checkpoint is not None:
        state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
        if state.global_step >= trainer.args.max_steps:
            trainer._load_from_checkpoint(checkpoint)
            trainer.state = state
            for callback in callbacks:
                callback.on_train_begin(trainer.args, state, trainer.control, model=trainer.model)
            return
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise UserError(
                f"{title}: out of memory with {trainer.sampler.largest_part} rows at once", option="micro_batch_size"
            ) from error
        raise


def arguments(schedule: Schedule, num_steps: int, setting: TrainContext, model: TrainingModule) -> TrainingArguments:
    """A stage's options as the trainer takes them."""
    precision = resolve_precision(setting.precision)
    made = TrainingArguments(
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
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        torch_compile=setting.compiled,
        tf32=False,  # compiling would turn it on, and fp32 is to be fp32
        use_cpu=not torch.cuda.is_available(),
        seed=setting.seed,
        save_strategy="steps",
        save_steps=schedule.checkpoint_steps,
        logging_steps=LOG_EVERY_STEPS,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        ddp_timeout=int(distributed.PATIENCE.total_seconds()),
        ddp_find_unused_parameters=bool(model.reads),  # the head, and of the last layer what no loss reads
    )
    made.mixed_precision = precision if precision in HALF else "no"  # whatever a launcher's environment says
    # several GPUs of one process would get the teacher's outputs undivided: one process per GPU, under torchrun
    assert made.device is not None
    made._n_gpu = min(1, made.n_gpu)
    return made
