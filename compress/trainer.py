"""One trainer for every stage: a `transformers.Trainer` whose loss is the stage's objective."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer

from compress import losses, taps
from compress.batching import LengthBucketedBatchSampler


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a stage matches, and the weight of each part; 0 leaves the part out and nothing is computed for it."""

    embedding: float = 0.0
    hidden: float = 0.0
    attention: float = 0.0
    prediction: float = 0.0
    labels: float = 0.0
    temperature: float = 1.0

    @property
    def layer_wise(self) -> bool:
        """Whether hidden states or attention scores of the teacher are needed."""
        return any((self.embedding, self.hidden, self.attention))


INTERMEDIATE_LAYERS = Objective(embedding=1.0, hidden=1.0, attention=1.0)


class Projections(nn.Module):
    """W_e and W_h: linear maps without bias from the student's width to the teacher's (TinyBERT, equations 8, 9)."""

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(student_width, teacher_width, bias=False)
        self.hidden = nn.Linear(student_width, teacher_width, bias=False)

    @torch.no_grad()
    def start_from(self, projection: Tensor) -> None:
        """Begin at the transpose of P (teacher width, student width), which carries the student's states back."""
        self.embedding.weight.copy_(projection)
        self.hidden.weight.copy_(projection)


class DistillationModel(nn.Module):
    """What is trained: the student with its projections. Its output is the losses, one value per example each.

    The whole computation lies in `forward`, so that a data-parallel wrapper sees it all.
    """

    def __init__(self, student: PreTrainedModel, projections: Projections | None, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.projections = projections
        self.objective = objective

    def forward(
        self,
        teacher: taps.Taps | None = None,
        teacher_logits: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs: Tensor,
    ) -> dict[str, Tensor]:
        """`teacher`: the mapped layers only, as many as the student's. Returns loss name -> (batch,)."""
        mask, objective = inputs["attention_mask"], self.objective
        found = {}
        if objective.layer_wise:
            assert teacher is not None and self.projections is not None
            ours = taps.read(
                self.student,
                inputs,
                hidden=bool(objective.embedding or objective.hidden),
                scores=bool(objective.attention),
            )
            if objective.embedding:
                projected = self.projections.embedding(ours.hidden[0])
                found["embedding"] = losses.hidden_loss(projected, teacher.hidden[0], mask)
            if objective.hidden:
                layers = zip(ours.hidden[1:], teacher.hidden[1:], strict=True)
                project = self.projections.hidden
                found["hidden"] = _sum(losses.hidden_loss(project(s), t, mask) for s, t in layers)
            if objective.attention:
                layers = zip(ours.scores, teacher.scores, strict=True)
                found["attention"] = _sum(losses.attention_loss(s, t, mask) for s, t in layers)
        if objective.prediction or objective.labels:
            logits = self.student(**inputs).logits
            if objective.prediction:
                assert teacher_logits is not None
                found["prediction"] = losses.prediction_loss(logits, teacher_logits, objective.temperature)
            if objective.labels:
                assert labels is not None
                found["labels"] = losses.label_loss(logits, labels)
        return found


class DistillationTrainer(Trainer):
    """Trains a DistillationModel. `teacher` is needed by layer-wise objectives only, and stays outside the model.

    Every loss is a mean over the examples of the whole optimiser step, all micro-batches included.
    """

    def __init__(
        self,
        *,
        model: DistillationModel,
        teacher: PreTrainedModel | None,
        layer_map: tuple[int, ...],
        lengths: list[int],
        **options: Any,
    ) -> None:
        super().__init__(model=model, **options)
        self.objective: Objective = model.objective
        self.teacher = teacher
        self.layer_map = layer_map
        self.lengths = lengths
        self.loss_is_scaled_for_ga = True  # compute_loss divides by the step's examples itself
        self._loss_sums: dict[str, float] = defaultdict(float)
        self._loss_examples = 0
        if teacher is not None:
            teacher.eval().requires_grad_(False).to(self.args.device)

    def get_train_dataloader(self) -> DataLoader:
        """Length-bucketed batches, which depend on (seed, epoch) alone."""
        sampler = LengthBucketedBatchSampler(
            self.lengths, batch_size=self.args.per_device_train_batch_size, seed=self.args.seed
        )
        return self.accelerator.prepare(
            DataLoader(
                self.train_dataset,  # type: ignore[arg-type]
                batch_sampler=sampler,
                collate_fn=self.data_collator,
                pin_memory=self.args.dataloader_pin_memory,
            )
        )

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor | int | None:
        return sum(len(batch["input_ids"]) for batch in batch_samples)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective's weighted sum, as this micro-batch's share of the optimiser step's mean."""
        if self.objective.layer_wise:
            inputs = {**inputs, "teacher": self._teacher_taps(inputs)}
        parts = model(**inputs)
        weights = asdict(self.objective)
        num_examples = num_items_in_batch or len(inputs["input_ids"])
        loss = sum(weights[name] * values.sum() for name, values in parts.items()) / num_examples
        for name, values in parts.items():
            self._loss_sums[name] += values.detach().sum()
        self._loss_examples += len(inputs["input_ids"])
        return (loss, parts) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds each loss's mean since the last log."""
        if "loss" in logs and self._loss_examples:
            means = {f"loss_{name}": float(total) / self._loss_examples for name, total in self._loss_sums.items()}
            logs = {**logs, **means}
            self._loss_sums.clear()
            self._loss_examples = 0
        super().log(logs, start_time)

    @torch.no_grad()
    def _teacher_taps(self, inputs: dict[str, Tensor]) -> taps.Taps:
        assert self.teacher is not None
        tokens = {name: value for name, value in inputs.items() if name not in ("labels", "teacher_logits")}
        objective = self.objective
        with self.accelerator.autocast():  # the trainer casts what it trains, and nothing else
            found = taps.read(
                self.teacher,
                tokens,
                hidden=bool(objective.embedding or objective.hidden),
                scores=bool(objective.attention),
            )
        return taps.Taps(
            last=found.last,
            hidden=tuple(found.hidden[layer] for layer in (0, *self.layer_map)) if found.hidden else (),
            scores=tuple(found.scores[layer - 1] for layer in self.layer_map) if found.scores else (),
        )


def _sum(layers: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(layers)).sum(dim=0)
