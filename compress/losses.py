"""The distillation losses, as pure masked functions.

One normalisation rule for all: each function returns one value per example, the mean over that example's own real
positions (pairs of positions for attention). The trainer then takes the mean over the examples of the optimiser step,
so neither padding nor micro-batches can change a loss.
"""

import torch
from torch import Tensor
from torch.nn import functional


def attention_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of attention scores before the softmax, per example.

    `student`, `teacher`: (batch, heads, queries, keys), scores QK^T / sqrt(head width).
    `mask`: (batch, positions), 1 at real tokens. Returns (batch,).
    TinyBERT (Jiao et al. 2020), equation 7.
    """
    mask = mask.to(torch.float32)
    real_pairs = mask[:, None, :, None] * mask[:, None, None, :]
    squared = (student.float() - teacher.float()).square() * real_pairs
    return squared.sum(dim=(1, 2, 3)) / (student.shape[1] * mask.sum(dim=1).square())


def hidden_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of hidden states (or embeddings) at real tokens, per example.

    `student`, already projected to the teacher's width, and `teacher`: (batch, positions, width).
    `mask`: (batch, positions). Returns (batch,). TinyBERT, equations 8 and 9.
    """
    mask = mask.to(torch.float32)
    squared = (student.float() - teacher.float()).square().mean(dim=2) * mask
    return squared.sum(dim=1) / mask.sum(dim=1)


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, num_heads: int) -> Tensor:
    """Kullback-Leibler divergence of self-attention relations, teacher's from student's, per example.

    `student`, `teacher`: queries, keys or values with all heads side by side, (batch, positions, width); the widths may
    differ, and `num_heads` divides both. `mask`: (batch, positions). Each is cut into relation heads a, and compared
    through softmax(a a^T / sqrt(head width)) over the real positions; the mean over relation heads and real positions.
    Returns (batch,). MiniLMv2 (Wang et al. 2021), equations 5 to 7: serves where the models' head counts differ.
    """
    ours, theirs = _relations(student, mask, num_heads), _relations(teacher, mask, num_heads)
    mask = mask.to(torch.float32)
    real_pairs = mask[:, None, :, None] * mask[:, None, None, :]
    divergence = (theirs.exp() * (theirs - ours)).masked_fill(real_pairs == 0, 0.0)
    return divergence.sum(dim=(1, 2, 3)) / (num_heads * mask.sum(dim=1))


def _relations(vectors: Tensor, mask: Tensor, num_heads: int) -> Tensor:
    """Logarithms of the relations, (batch, heads, positions, positions)."""
    heads = vectors.float().unflatten(2, (num_heads, -1)).transpose(1, 2)
    scores = heads @ heads.transpose(2, 3) / heads.shape[-1] ** 0.5
    scores = scores.masked_fill(mask[:, None, None, :] == 0, torch.finfo(scores.dtype).min)
    return functional.log_softmax(scores, dim=-1)


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Soft cross-entropy of the student's logits under the teacher's, per example.

    `student`, `teacher`: (batch, classes). Returns (batch,): summed over the classes, not averaged, and not multiplied
    by the squared temperature. TinyBERT, equation 10.
    """
    targets = functional.softmax(teacher.float() / temperature, dim=-1)
    return -(targets * functional.log_softmax(student.float() / temperature, dim=-1)).sum(dim=-1)


def cross_entropy(student: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy against class labels, per example.

    `student`: (batch, classes), `labels`: (batch,). Returns (batch,).
    """
    return functional.cross_entropy(student.float(), labels, reduction="none")


def squared_error(student: Tensor, targets: Tensor) -> Tensor:
    """Squared error against numbers, per example.

    `student`: (batch, 1), `targets`: (batch,), labels, or (batch, 1), the teacher's values. Returns (batch,).
    """
    values = student.float().squeeze(-1)
    return (values - targets.float().reshape_as(values)).square()
