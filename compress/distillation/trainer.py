"""The trainer for all stages: a `transformers.Trainer` that takes its losses from a `TrainingModule`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer, TrainingArguments

from compress.common import distributed
from compress.data.batching import LengthBucketedBatchSampler, WeightedRows
from compress.distillation import layer_outputs
from compress.distillation.objective import TrainingModule
from compress.models.precision import Precision, low_precision_copy


class DistillationTrainer(Trainer):
    """Trains a `TrainingModule`.

    Each loss is a mean over all examples of an optimiser step, over all its micro-batches and processes.

    `teacher`: for layer-wise objectives; it stays outside the model. `layer_map`: the teacher layer, counted from 1, of
    each student layer. `lengths`: tokens per row, (rows,). `batch_size`: examples per optimiser step, over all
    processes. It replaces the batch size and the gradient accumulation in `args`. `micro_batch_size`: the most examples
    that a process computes at once. `rate_factor`: the factor of the learning rate at each step; it replaces the
    schedule in `args`.
    """

    def __init__(
        self,
        *,
        model: TrainingModule,
        teacher: PreTrainedModel | None,
        layer_map: tuple[int, ...],
        lengths: np.ndarray,
        batch_size: int,
        micro_batch_size: int | None = None,
        rate_factor: Callable[[int], float] | None = None,
        args: TrainingArguments,
        **options: Any,
    ) -> None:
        self.sampler = LengthBucketedBatchSampler(
            lengths,
            batch_size=batch_size,
            seed=args.seed,
            micro_batch_size=micro_batch_size,
            share=(distributed.rank(), distributed.count()),
        )
        args.gradient_accumulation_steps = self.sampler.micro_batches
        assert isinstance(model, nn.Module)  # a protocol cannot require this
        super().__init__(model=model, args=args, **options)
        self.requested_outputs = model.requested_outputs
        self.layer_map = layer_map
        self.loss_is_scaled_for_ga = True  # compute_loss already divides by the number of examples in the step
        self.rate_factor = rate_factor
        self._loss_sums: dict[str, Tensor] = {}
        self._loss_examples = torch.tensor(0.0)
        self.teacher: Any = None
        if teacher is not None:
            precision: Precision = "bf16" if self.args.bf16 else "fp16" if self.args.fp16 else "fp32"
            self.teacher = low_precision_copy(teacher, precision).eval().requires_grad_(False).to(self.args.device)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule of `rate_factor`, or that of `args`."""
        if self.rate_factor is None:
            return super().create_scheduler(num_training_steps, optimizer)
        optimizer = optimizer or self.optimizer
        assert optimizer is not None
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate_factor)
        return self.lr_scheduler

    def get_train_dataloader(self) -> DataLoader:
        """This process's share of length-bucketed batches, which depend only on (seed, epoch)."""
        loader = DataLoader(
            WeightedRows(self.train_dataset),
            batch_sampler=self.sampler,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
        )
        # prepare as for a single process, because the sampler already divides the batches
        return prepare_data_loader(loader, self.args.device, num_processes=1, process_index=0, put_on_device=True)

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor:
        count = torch.stack([batch["weight"].sum() for batch in batch_samples]).sum()
        return self.accelerator.reduce(count.to(device), reduction="sum")

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The sum of the losses: this micro-batch's share of the mean over the examples of the optimiser step."""
        weights = inputs["weight"]
        tokens = {name: value for name, value in inputs.items() if name != "weight"}
        parts = model(**tokens, teacher=self._teacher_outputs(tokens)) if self.requested_outputs else model(**tokens)
        sums = {name: (values * weights).sum() for name, values in parts.items()}
        num_examples = weights.sum() if num_items_in_batch is None else num_items_in_batch
        # data-parallel training averages the gradients of the processes, but ours are shares of one mean
        loss = torch.stack(list(sums.values())).sum() / num_examples * self.accelerator.num_processes
        for name, value in sums.items():
            self._loss_sums[name] = self._loss_sums.get(name, 0.0) + value.detach()
        self._loss_examples = self._loss_examples.to(weights.device) + weights.sum()
        return (loss, parts) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the values, and for each loss its mean since the last log."""
        if "loss" in logs and self._loss_sums:
            own_sums = torch.stack([*self._loss_sums.values(), self._loss_examples])
            *sums, num_examples = self.accelerator.reduce(own_sums, reduction="sum").tolist()
            means = {f"loss_{name}": total / num_examples for name, total in zip(self._loss_sums, sums, strict=True)}
            logs = {**logs, **means}
            self._loss_sums.clear()
            self._loss_examples = torch.tensor(0.0)
        super().log(logs, start_time)

    @torch.no_grad()
    def _teacher_outputs(self, inputs: dict[str, Tensor]) -> layer_outputs.LayerOutputs:
        assert self.teacher is not None
        tokens = {name: value for name, value in inputs.items() if name not in ("labels", "teacher_logits")}
        with self.accelerator.autocast():  # the trainer casts only the model that it trains
            return layer_outputs.read(self.teacher, tokens, self.requested_outputs).of_layers(self.layer_map)
