"""Running one training stage. A stage that is killed at any moment can be resumed."""

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
from compress.common.console import new_console
from compress.common.errors import UserError
from compress.common.progress import ProgressBar
from compress.data.batching import LengthBucketedBatchSampler, PaddingCollator
from compress.data.tokenization import TokenDataset
from compress.distillation import layer_outputs
from compress.distillation.best_epoch import BestEpoch
from compress.distillation.callbacks import Checkpoints, Progress, StopAt, latest_checkpoint
from compress.distillation.objective import TrainingModule
from compress.distillation.plateau import DecayAtPlateau, StableThenDecay
from compress.distillation.trainer import DistillationTrainer
from compress.distillation.used_embeddings import only_used_rows, used_token_ids
from compress.models.precision import HALF, Precision, resolve_precision
from compress.results import LossEntry, TrainingResult

AFTER_PLATEAU = "after_plateau"
LOG_EVERY_STEPS = 20
MAX_EAGER_TOKENS = 256


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The length, batch sizes and learning rate of a stage.

    `batch_size`: examples per optimiser step, over all processes. `micro_batch_size`: the most examples that a process
    computes at once. `warmup`: the share of all steps. `max_steps`: stop after this many steps. `checkpoint_steps`:
    steps between checkpoints. `patience`: epochs without a better score on dev after which the stage stops; None: train
    all epochs.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float = 0.1
    decay: str = "linear"
    max_steps: int | None = None
    checkpoint_steps: int = 200
    micro_batch_size: int | None = None
    patience: int | None = None

    def num_steps(self, num_rows: int) -> int:
        """The number of optimiser steps for this many rows. The last partial batch of an epoch is one step."""
        return min(filter(None, [self.max_steps, self.epochs * math.ceil(num_rows / self.batch_size)]))


def rows_seen(lengths: np.ndarray, schedule: Schedule, *, seed: int) -> np.ndarray:
    """The numbers of the rows that a stage will train on, in ascending order.

    These are all rows unless `max_steps` ends the stage in its first epoch.
    """
    num_steps = schedule.num_steps(len(lengths))
    if num_steps * schedule.batch_size >= len(lengths):
        return np.arange(len(lengths))
    batches = LengthBucketedBatchSampler(lengths, batch_size=schedule.batch_size, seed=seed)
    return np.unique([sampled.row for batch in islice(batches, num_steps) for sampled in batch])


@dataclass(frozen=True, kw_only=True)
class TrainContext:
    """The name, seed, precision and folders of a stage.

    `checkpoints`: the folder for checkpoints. If it contains a complete one, training resumes from it. `compiled`: use
    torch.compile. `metric`: the name of the score on dev, for messages. `tensorboard`: the folder for event files.
    """

    title: str
    seed: int
    checkpoints: Path
    precision: Precision = "auto"
    compiled: bool = False
    metric: str = "score"
    tensorboard: Path | None = None
    console: Console = field(default_factory=lambda: new_console(stderr=True))


def train(
    model: TrainingModule,
    data: TokenDataset,
    schedule: Schedule,
    context: TrainContext,
    *,
    teacher: PreTrainedModel | None = None,
    layer_map: tuple[int, ...] = (),
    whole_embedding: bool = False,
    evaluate: Callable[[PreTrainedModel], float] | None = None,
    epoch_rows: int | None = None,
    stop_at: int | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> TrainingResult:
    """Train `model` in place on `data`.

    If a call is interrupted, a second call resumes and reaches the same weights as an uninterrupted call.

    `evaluate`: scores the student after each epoch (higher is better). The student then ends with the weights of its
    best epoch. `epoch_rows`: rows per such epoch, if `data` contains augmented copies of a smaller data set.
    `whole_embedding`: also train the embedding of tokens that `data` does not use. A head that shares the matrix of the
    embedding needs this. `stop_at`: save a checkpoint at this step and return with the weights of this step; a further
    call continues. `callbacks`: called in addition to ours. Raises UserError if the loss is not finite.
    """
    num_steps = schedule.num_steps(len(data.lengths))
    bar = ProgressBar(context.title, context.console)
    progress = Progress(context.title, bar)
    epoch_steps = math.ceil((epoch_rows or len(data.lengths)) / schedule.batch_size)
    best: BestEpoch | None = None
    if evaluate is not None:

        def announce(epoch: int, score: float) -> None:
            last = math.ceil(num_steps / epoch_steps)
            context.console.print(f"  {context.title}: epoch {epoch} of {last}: dev {context.metric} {score:.3f}")

        best = BestEpoch(
            evaluate,
            context.checkpoints / "best.safetensors",
            epoch_steps=epoch_steps,
            patience=schedule.patience,
            on_score=announce,
            console=context.console,
        )
        best.read_scores()
    resumable = [*([best] if best else []), *callbacks]
    if context.tensorboard is not None and distributed.is_main():
        resumable.append(TensorBoardCallback(SummaryWriter(str(context.tensorboard))))
    started = time.perf_counter()
    embedding: AbstractContextManager = nullcontext()
    if not whole_embedding:
        embedding = only_used_rows(model.student, used_token_ids(data, model.student.config.vocab_size))
    rate_factor, ends = None, list[TrainerCallback]()
    if stop_at is not None and stop_at < num_steps:
        ends.append(StopAt(stop_at))
    if schedule.decay == AFTER_PLATEAU:
        rate_factor = StableThenDecay(warmup_steps=math.ceil(schedule.warmup * num_steps), max_steps=num_steps)
        ends.append(DecayAtPlateau(rate_factor, max_steps=num_steps))
    attention = fastest_attention(model.student, data.lengths, context.precision)
    with bar, embedding, attention:
        trainer = DistillationTrainer(
            model=model,
            teacher=teacher,
            layer_map=layer_map,
            lengths=data.lengths,
            batch_size=schedule.batch_size,
            micro_batch_size=schedule.micro_batch_size,
            rate_factor=rate_factor,
            args=training_arguments(schedule, num_steps, context, model),
            train_dataset=data.rows,
            data_collator=PaddingCollator(data.pad_token_id),
            callbacks=[*resumable, *ends, progress, Checkpoints()],
        )
        trainer.remove_callback(PrinterCallback)
        last_step = min(num_steps, stop_at or num_steps)
        checkpoint = latest_checkpoint(
            context.checkpoints,
            is_usable=lambda step: step <= last_step and (best is None or best.can_resume_at(step)),
            console=context.console,
        )
        _run(trainer, checkpoint, [*resumable, progress], context.title, last_step, best)
        if best is not None and last_step == num_steps:
            best.restore(model.student)
    model.eval()
    return TrainingResult(
        history=[LossEntry.of_log(entry) for entry in trainer.state.log_history if "loss" in entry],
        dev_scores=best.scores if best else [],
        best_epoch=best.best_epoch if best is not None and best.scores else None,
        num_steps=trainer.state.global_step,
        resumed_at_step=progress.first_step,
        seconds=time.perf_counter() - started,
    )


def fastest_attention(model: PreTrainedModel, lengths: np.ndarray, precision: Precision) -> AbstractContextManager:
    """Inside this context, the model uses the attention implementation that trains fastest.

    On a CPU in bf16, the backward pass of torch's sdpa attention takes 2 to 10 times as long as that of eager
    attention, unless texts are long. `lengths`: tokens per text, (rows,).
    """
    sdpa_on_cpu = model.config._attn_implementation == "sdpa" and not torch.cuda.is_available()
    if sdpa_on_cpu and resolve_precision(precision) == "bf16" and np.quantile(lengths, 0.9) <= MAX_EAGER_TOKENS:
        return layer_outputs.using_attention("eager", model)
    return nullcontext()


def _run(
    trainer: DistillationTrainer,
    checkpoint: str | None,
    callbacks: Sequence[TrainerCallback],
    title: str,
    last_step: int,
    best: BestEpoch | None,
) -> None:
    """Train until `last_step`. A checkpoint at the end is only loaded, because the trainer would take a further step.

    `best`: one of the callbacks; its patience may have ended the training before.
    """
    if checkpoint is not None:
        state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
        if state.global_step >= last_step or (best is not None and best.has_ended(state)):
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


def training_arguments(
    schedule: Schedule, num_steps: int, context: TrainContext, model: TrainingModule
) -> TrainingArguments:
    """The options of a stage in the form that the trainer needs."""
    precision = resolve_precision(context.precision)
    arguments = TrainingArguments(
        output_dir=str(context.checkpoints),
        num_train_epochs=schedule.epochs,
        max_steps=num_steps,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="linear" if schedule.decay == AFTER_PLATEAU else schedule.decay,
        warmup_steps=schedule.warmup,
        weight_decay=0.01,
        adam_epsilon=1e-6,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        torch_compile=context.compiled,
        tf32=False,  # compiling would turn it on, but fp32 must stay fp32
        use_cpu=not torch.cuda.is_available(),
        seed=context.seed,
        save_strategy="steps",
        save_steps=schedule.checkpoint_steps,
        logging_steps=LOG_EVERY_STEPS,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        ddp_timeout=int(distributed.TIMEOUT.total_seconds()),
        ddp_find_unused_parameters=bool(model.requested_outputs),  # layer-wise losses do not use the head
    )
    arguments.mixed_precision = precision if precision in HALF else "no"  # overrides the environment of a launcher
    # Use one GPU per process. If one process used several, each GPU would get the teacher's outputs of all of them.
    assert arguments.device is not None
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments
