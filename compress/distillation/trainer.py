"""One trainer for every stage: a `transformers.Trainer` whose loss is what the trained module returns."""

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
    """Trains a TrainingModule. `teacher` is needed by layer-wise objectives only, and stays outside the model.

    Every loss is a mean over the examples of the whole optimiser step, all micro-batches and processes included.
    `batch_size`: examples of an optimiser step, over all processes; the arguments' own batch size and accumulation are
    set from it. `micro_batch_size`: how many of them a process takes at once.
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
        assert isinstance(model, nn.Module)  # which a protocol cannot say
        super().__init__(model=model, args=args, **options)
        self.reads = model.reads
        self.layer_map = layer_map
        self.loss_is_scaled_for_ga = True  # compute_loss divides by the step's examples itself
        self._loss_sums: dict[str, Tensor] = {}
        self._loss_examples = torch.tensor(0.0)
        self.teacher: Any = None
        if teacher is not None:
            precision: Precision = "bf16" if self.args.bf16 else "fp16" if self.args.fp16 else "fp32"
            self.teacher = low_precision_copy(teacher, precision).eval().requires_grad_(False).to(self.args.device)

    def get_train_dataloader(self) -> DataLoader:
        """Length-bucketed batches, which depend on (seed, epoch) alone; this process's share of each."""
        loader = DataLoader(
            WeightedRows(self.train_dataset),
            batch_sampler=self.sampler,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
        )
        # as in a single process: the sampler has divided the batches already
        return prepare_data_loader(loader, self.args.device, num_processes=1, process_index=0, put_on_device=True)

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor:
        count = torch.stack([batch["counts"].sum() for batch in batch_samples]).sum()
        return self.accelerator.reduce(count.to(device), reduction="sum")

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The losses' sum, as this micro-batch's share of the optimiser step's mean over examples."""
        counts = inputs["counts"]
        tokens = {name: value for name, value in inputs.items() if name != "counts"}
        parts = model(**tokens, teacher=self._teacher_taps(tokens)) if self.reads else model(**tokens)
        sums = {name: (values * counts).sum() for name, values in parts.items()}
        num_examples = counts.sum() if num_items_in_batch is None else num_items_in_batch
        # data-parallel training averages the processes' gradients, and here they are shares of one mean
        loss = torch.stack(list(sums.values())).sum() / num_examples * self.accelerator.num_processes
        for name, value in sums.items():
            self._loss_sums[name] = self._loss_sums.get(name, 0.0) + value.detach()
        self._loss_examples = self._loss_examples.to(counts.device) + counts.sum()
        return (loss, parts) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds each loss's mean since the last log."""
        if "loss" in logs and self._loss_sums:
            mine = torch.stack([*self._loss_sums.values(), self._loss_examples])
            *sums, num_examples = self.accelerator.reduce(mine, reduction="sum").tolist()
            means = {f"loss_{name}": total / num_examples for name, total in zip(self._loss_sums, sums, strict=True)}
            logs = {**logs, **means}
            self._loss_sums.clear()
            self._loss_examples = torch.tensor(0.0)
        super().log(logs, start_time)

    @torch.no_grad()
    def _teacher_taps(self, inputs: dict[str, Tensor]) -> layer_outputs.LayerOutputs:
        assert self.teacher is not None
        tokens = {name: value for name, value in inputs.items() if name not in ("labels", "teacher_logits")}
        with self.accelerator.autocast():  # the trainer casts what it trains, and nothing else
            return layer_outputs.read(self.teacher, tokens, self.reads).of_layers(self.layer_map)
