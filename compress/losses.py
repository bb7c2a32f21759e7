"""The distillation losses, as pure functions with masks.

All losses share one normalisation rule. Each function returns one value per example: the mean over the example's real
positions, or pairs of positions for attention. The trainer then takes the mean over the examples of the optimiser step.
Therefore neither padding nor micro-batches change a loss.
"""

import torch
from torch import Tensor
from torch.nn import functional


def attention_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of attention scores before the softmax, per example, (batch,).

    `student`, `teacher`: scores QK^T / sqrt(head width), (batch, heads, queries, keys).
    `mask`: (batch, positions), 1 at real tokens.
    TinyBERT (Jiao et al. 2020), equation 7.
    """
    mask = mask.to(torch.float32)
    real_pairs = mask[:, None, :, None] * mask[:, None, None, :]
    squared = (student.float() - teacher.float()).square() * real_pairs
    return squared.sum(dim=(1, 2, 3)) / (student.shape[1] * mask.sum(dim=1).square())


def hidden_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of hidden states or embeddings at real tokens, per example, (batch,).

    `student`: projected to the teacher's width. `student`, `teacher`: (batch, positions, width).
    `mask`: (batch, positions). TinyBERT, equations 8 and 9.
    """
    mask = mask.to(torch.float32)
    squared = (student.float() - teacher.float()).square().mean(dim=2) * mask
    return squared.sum(dim=1) / mask.sum(dim=1)


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, num_heads: int) -> Tensor:
    """Kullback-Leibler divergence KL(teacher || student) of self-attention relations, per example, (batch,).

    `student`, `teacher`: queries, keys or values with concatenated heads, (batch, positions, width). The widths may
    differ, but `num_heads` must divide both. `mask`: (batch, positions).

    The vectors are split into `num_heads` relation heads. The relations of a head a are softmax(a a^T / sqrt(head
    width)) over the real positions. The loss is the mean over relation heads and real positions. The models may have
    different numbers of attention heads. MiniLMv2 (Wang et al. 2021), equations 5 to 7.
    """
    student_log, teacher_log = _log_relations(student, mask, num_heads), _log_relations(teacher, mask, num_heads)
    mask = mask.to(torch.float32)
    real_pairs = mask[:, None, :, None] * mask[:, None, None, :]
    divergence = (teacher_log.exp() * (teacher_log - student_log)).masked_fill(real_pairs == 0, 0.0)
    return divergence.sum(dim=(1, 2, 3)) / (num_heads * mask.sum(dim=1))


def _log_relations(vectors: Tensor, mask: Tensor, num_heads: int) -> Tensor:
    """The logarithms of the relations, (batch, heads, positions, positions)."""
    heads = vectors.float().unflatten(2, (num_heads, -1)).transpose(1, 2)
    scores = heads @ heads.transpose(2, 3) / heads.shape[-1] ** 0.5
    scores = scores.masked_fill(mask[:, None, None, :] == 0, torch.finfo(scores.dtype).min)
    return functional.log_softmax(scores, dim=-1)


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy between the teacher's and the student's class probabilities, per example, (batch,).

    `student`, `teacher`: logits, (batch, classes). The loss is a sum over the classes, not a mean. It is not multiplied
    by the squared temperature. TinyBERT, equation 10.
    """
    targets = functional.softmax(teacher.float() / temperature, dim=-1)
    return -(targets * functional.log_softmax(student.float() / temperature, dim=-1)).sum(dim=-1)


def cross_entropy(student: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy between logits (batch, classes) and class labels (batch,), per example, (batch,)."""
    return functional.cross_entropy(student.float(), labels, reduction="none")


def squared_error(student: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the student's values (batch, 1), per example, (batch,).

    `targets`: labels (batch,), or the teacher's values (batch, 1).
    """
    values = student.float().squeeze(-1)
    return (values - targets.float().reshape_as(values)).square()
