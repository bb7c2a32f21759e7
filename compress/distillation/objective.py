"""What a stage matches: the weights of the losses, the projections, and the module that computes both."""

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
from compress.models.compatibility import weight_problems

LayerWeights = float | tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weight of each loss; what has weight 0 is not computed.

    `hidden`, `attention`, `relations`: one weight for all student layers, or one for each of them, first to last.
    `relation_heads`: into how many parts the relations cut queries, keys and values; None: as many as suit both models.
    `task_type`: what `prediction` and `labels` compare; layer-wise losses need none.
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
    def reads(self) -> layer_outputs.RequestedOutputs:
        """What must be read from both models."""
        return layer_outputs.RequestedOutputs(
            hidden=bool(self.embedding) or _any(self.hidden),
            scores=_any(self.attention),
            vectors=_any(self.relations),
        )


INTERMEDIATE_LAYERS = Objective(embedding=1.0, hidden=1.0, attention=1.0)


class Projections(nn.Module):
    """W_e and W_h: linear maps without bias from the student's width to the teacher's (TinyBERT, equations 8, 9).

    `num_hidden`: 1, a W_h shared by all layers, or one for each student layer.
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
        """Begin at the transpose of P (teacher width, student width), which carries the student's states back."""
        for linear in self.modules():
            if isinstance(linear, nn.Linear):
                linear.weight.copy_(projection)


class TrainingModule(Protocol):
    """What `train` trains: a torch module that holds the student and computes the losses of a batch.

    `reads`: what `forward` needs of the teacher's layers, as its argument `teacher`; empty where it needs no teacher.
    """

    student: PreTrainedModel

    @property
    def reads(self) -> layer_outputs.RequestedOutputs:
        """What must be read from the teacher."""

    def forward(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """The columns of a padded batch. Returns loss name -> loss (batch,)."""

    def eval(self) -> Any:
        """Leave training mode."""


class DistillationModel(nn.Module):
    """What is trained: the student with its projections. Its output is the losses, one value per example each.

    The whole computation lies in `forward`, so that a data-parallel wrapper sees it all.
    """

    def __init__(self, student: PreTrainedModel, projections: Projections | None, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.projections = projections
        self.objective = objective

    @property
    def reads(self) -> layer_outputs.RequestedOutputs:
        """What must be read from both models."""
        return self.objective.reads

    def forward(
        self,
        teacher: layer_outputs.LayerOutputs | None = None,
        teacher_logits: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs: Tensor,
    ) -> dict[str, Tensor]:
        """`teacher`: the mapped layers only, as many as the student's. Returns loss name -> weighted loss (batch,)."""
        objective = self.objective
        parts: list[tuple[str, Tensor]] = []
        if objective.reads:
            assert teacher is not None
            ours = layer_outputs.read(self.student, inputs, objective.reads)
            parts += self._layer_losses(ours, teacher, inputs["attention_mask"])
        if objective.prediction or objective.labels:
            assert objective.task_type is not None
            kind = task_type(objective.task_type)
            logits = self.student(**inputs).logits
            if objective.prediction:
                assert teacher_logits is not None
                loss = kind.distillation_loss(logits, teacher_logits, objective.temperature)
                parts.append(("prediction", objective.prediction * loss))
            if objective.labels:
                assert labels is not None
                parts.append(("labels", objective.labels * kind.label_loss(logits, labels)))
        return dict(parts)

    def _layer_losses(
        self, ours: layer_outputs.LayerOutputs, theirs: layer_outputs.LayerOutputs, mask: Tensor
    ) -> list[tuple[str, Tensor]]:
        objective, projections = self.objective, self.projections
        num_layers = self.student.config.num_hidden_layers
        parts: list[tuple[str, Tensor]] = []
        if objective.embedding:
            assert projections is not None
            projected = projections.embedding(ours.hidden[0])
            parts.append(("embedding", objective.embedding * losses.hidden_loss(projected, theirs.hidden[0], mask)))
        if _any(objective.hidden):
            assert projections is not None
            hidden = _sum(
                weight * losses.hidden_loss(projections.of_layer(m)(ours.hidden[m + 1]), theirs.hidden[m + 1], mask)
                for m, weight in weighted_layers(objective.hidden, num_layers)
            )
            parts.append(("hidden", hidden))
        if _any(objective.attention):
            attention = _sum(
                weight * losses.attention_loss(ours.scores[m], theirs.scores[m], mask)
                for m, weight in weighted_layers(objective.attention, num_layers)
            )
            parts.append(("attention", attention))
        if _any(objective.relations):
            relations = _sum(
                weight
                * losses.relation_loss(
                    s, t, mask, objective.relation_heads or most_relation_heads(s.shape[-1], t.shape[-1])
                )
                for m, weight in weighted_layers(objective.relations, num_layers)
                for s, t in zip(ours.vectors[m], theirs.vectors[m], strict=True)
            )
            parts.append(("relations", relations))
        return parts


def weighted_layers(weights: LayerWeights, num_layers: int) -> list[tuple[int, float]]:
    """(student layer, counted from 0; its weight) of those that count. Raises UserError where the numbers differ."""
    raise_any(weight_problems(weights, num_layers))
    each = (weights,) * num_layers if isinstance(weights, float | int) else weights
    return [(layer, weight) for layer, weight in enumerate(each) if weight]


def most_relation_heads(student_width: int, teacher_width: int) -> int:
    """The largest number of relation heads, 48 at most, that divides both widths (MiniLMv2 takes 48 where it can)."""
    return max(n for n in range(1, 49) if student_width % n == 0 and teacher_width % n == 0)


def _any(weights: LayerWeights) -> bool:
    return any(weights) if isinstance(weights, tuple) else bool(weights)


def _sum(layers: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(layers)).sum(dim=0)
