"""The objective of a training stage: the weights of its losses, and the module that computes them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress import losses
from compress.common.errors import raise_any
from compress.data.task_types import TaskTypeName, task_type
from compress.distillation import layer_outputs
from compress.models.compatibility import LayerWeights, weight_problems


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weight of each loss. A loss of weight 0 is not computed.

    `hidden`, `attention`, `relations`: one weight for all student layers, or one per layer, from first to last.
    `relation_heads`: the number of relation heads of queries, keys and values. None means as many as possible.
    `task_type`: the type of the logits, which `prediction` and `labels` need.
    """

    embedding: float = 0.0
    hidden: LayerWeights = 0.0
    attention: LayerWeights = 0.0
    relations: LayerWeights = 0.0
    relation_heads: int | None = None
    prediction: float = 0.0
    labels: float = 0.0
    temperature: float = 1.0
    task_type: TaskTypeName | None = None

    def __post_init__(self) -> None:
        assert self.task_type or not (self.prediction or self.labels), "losses of logits depend on the task type"

    @property
    def requested_outputs(self) -> layer_outputs.RequestedOutputs:
        """The layer outputs that the losses need from both models."""
        return layer_outputs.RequestedOutputs(
            hidden=bool(self.embedding) or _any(self.hidden),
            scores=_any(self.attention),
            qkv=_any(self.relations),
        )


INTERMEDIATE_LAYERS = Objective(embedding=1.0, hidden=1.0, attention=1.0)


class Projections(nn.Module):
    """W_e and W_h: linear maps without bias from the student's width to the teacher's (TinyBERT, equations 8 and 9).

    `num_hidden`: 1 for a single W_h that all layers share, or the number of student layers.
    """

    def __init__(self, student_width: int, teacher_width: int, *, num_hidden: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Linear(student_width, teacher_width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(student_width, teacher_width, bias=False) for _ in range(num_hidden))

    def of_layer(self, layer: int) -> nn.Module:
        """W_h of a student layer, counted from 0."""
        return self.hidden[layer if len(self.hidden) > 1 else 0]

    @property
    def last_hidden(self) -> Tensor:
        """W_h of the last layer, (teacher width, student width), detached and on the CPU."""
        return self.hidden[-1].get_parameter("weight").detach().cpu()

    @torch.no_grad()
    def start_from(self, projection: Tensor) -> None:
        """Set every map to the transpose of P, which maps student states back to the teacher's width.

        `projection`: P, (teacher width, student width).
        """
        for linear in self.modules():
            if isinstance(linear, nn.Linear):
                linear.weight.copy_(projection)


class TrainingModule(Protocol):
    """A torch module that `train` can train. It contains the student and computes the losses of a batch."""

    student: PreTrainedModel

    @property
    def requested_outputs(self) -> layer_outputs.RequestedOutputs:
        """The teacher's layer outputs that `forward` needs as `teacher`. Empty if it needs no teacher."""

    def forward(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Compute the losses, (batch,) each, by name. `inputs`: the columns of a padded batch."""

    def eval(self) -> Any:
        """Leave training mode."""


class DistillationModel(nn.Module):
    """The student with its projections. Its outputs are the losses, one value per example each.

    `forward` does the whole computation, so that a data-parallel wrapper can synchronise it.
    """

    def __init__(self, student: PreTrainedModel, projections: Projections | None, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.projections = projections
        self.objective = objective

    @property
    def requested_outputs(self) -> layer_outputs.RequestedOutputs:
        """The layer outputs that the losses need from both models."""
        return self.objective.requested_outputs

    def forward(
        self,
        teacher: layer_outputs.LayerOutputs | None = None,
        teacher_logits: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs: Tensor,
    ) -> dict[str, Tensor]:
        """Compute the weighted losses, (batch,) each, by name.

        `teacher`: the outputs of the mapped teacher layers, one per student layer.
        """
        objective = self.objective
        parts: list[tuple[str, Tensor]] = []
        if objective.requested_outputs:
            assert teacher is not None
            student = layer_outputs.read(self.student, inputs, objective.requested_outputs)
            parts += self._layer_losses(student, teacher, inputs["attention_mask"])
        if objective.prediction or objective.labels:
            assert objective.task_type is not None
            type_ = task_type(objective.task_type)
            logits = self.student(**inputs).logits
            if objective.prediction:
                assert teacher_logits is not None
                loss = type_.distillation_loss(logits, teacher_logits, objective.temperature)
                parts.append(("prediction", objective.prediction * loss))
            if objective.labels:
                assert labels is not None
                parts.append(("labels", objective.labels * type_.label_loss(logits, labels)))
        return dict(parts)

    def _layer_losses(
        self, student: layer_outputs.LayerOutputs, teacher: layer_outputs.LayerOutputs, mask: Tensor
    ) -> list[tuple[str, Tensor]]:
        objective, projections = self.objective, self.projections
        num_layers = self.student.config.num_hidden_layers
        parts: list[tuple[str, Tensor]] = []
        if objective.embedding:
            assert projections is not None
            projected = projections.embedding(student.hidden[0])
            parts.append(("embedding", objective.embedding * losses.hidden_loss(projected, teacher.hidden[0], mask)))
        if _any(objective.hidden):
            assert projections is not None
            hidden = _sum(
                weight * losses.hidden_loss(projections.of_layer(m)(student.hidden[m + 1]), teacher.hidden[m + 1], mask)
                for m, weight in weighted_layers(objective.hidden, num_layers)
            )
            parts.append(("hidden", hidden))
        if _any(objective.attention):
            attention = _sum(
                weight * losses.attention_loss(student.scores[m], teacher.scores[m], mask)
                for m, weight in weighted_layers(objective.attention, num_layers)
            )
            parts.append(("attention", attention))
        if _any(objective.relations):
            relations = _sum(
                weight
                * losses.relation_loss(
                    s, t, mask, objective.relation_heads or max_relation_heads(s.shape[-1], t.shape[-1])
                )
                for m, weight in weighted_layers(objective.relations, num_layers)
                for s, t in zip(student.qkv[m], teacher.qkv[m], strict=True)
            )
            parts.append(("relations", relations))
        return parts


def weighted_layers(weights: LayerWeights, num_layers: int) -> list[tuple[int, float]]:
    """The student layers of non-zero weight, as (layer counted from 0, weight).

    Raises UserError if the number of weights is neither 1 nor `num_layers`.
    """
    raise_any(weight_problems(weights, num_layers))
    weight_per_layer = (weights,) * num_layers if isinstance(weights, float | int) else weights
    return [(layer, weight) for layer, weight in enumerate(weight_per_layer) if weight]


def max_relation_heads(student_width: int, teacher_width: int) -> int:
    """The largest number of relation heads, at most 48, that divides both widths. MiniLMv2 uses 48 where possible."""
    return max(n for n in range(1, 49) if student_width % n == 0 and teacher_width % n == 0)


def _any(weights: LayerWeights) -> bool:
    return bool(weights) if isinstance(weights, float | int) else any(weights)


def _sum(layers: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(layers)).sum(dim=0)
