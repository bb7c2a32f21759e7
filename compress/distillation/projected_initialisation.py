"""Projected initialisation: a narrow student from the teacher's own weights.

The teacher's hidden states nearly lie in a subspace. With P (teacher width x student width, orthonormal columns)
spanning it, a state h of the teacher is carried by the student as h P. Every weight follows from that: embeddings are
projected, attention is projected head by head and cut to the student's head width by SVD, feed-forward neurons are
selected, and LayerNorms are fitted by least squares on the student's running activations. It takes seconds.
"""

import math
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.common.errors import raise_any
from compress.distillation import layer_outputs
from compress.models.compatibility import EncoderFacts, initialisation_problems
from compress.models.layout import EncoderModules, Layer, encoder_modules

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    """What the teacher computed at the real tokens of the calibration text; each tensor is (tokens, width)."""

    hidden: list[Tensor]  # embedding output, then the output of each layer
    attention_output: list[Tensor]  # after the attention block's LayerNorm, each layer
    activations: list[Tensor]  # feed-forward neurons after the activation function, (tokens, ffn width), each layer


@torch.no_grad()
def project_teacher(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    layer_map: Sequence[int],
    batches: Sequence[Batch],
    *,
    seed: int,
) -> Tensor:
    """Set the weights of the student's encoder, in place, from those of the teacher; returns P.

    `batches` holds a few thousand tokens of calibration text: input_ids, attention_mask, token_type_ids where there are
    any, each (batch, positions). P: (teacher width, student width), orthonormal columns; a learnable projection of the
    student's states to the teacher's width starts as its transpose. Raises UserError where the shapes or the teacher's
    architecture do not suit.
    """
    shape = EncoderFacts.of_config(student.config.to_dict()).shape
    raise_any(initialisation_problems("projected", shape, EncoderFacts.of_config(teacher.config.to_dict())))
    nn.Module.to(student, "cpu").eval()
    nn.Module.to(teacher, "cpu").eval()
    ours, theirs = encoder_modules(student), encoder_modules(teacher)
    recorded = _record(teacher, theirs, batches)
    mapped = [recorded.hidden[0], *(recorded.hidden[layer] for layer in layer_map)]
    projection = principal_subspace(mapped, student.config.hidden_size, seed=seed)
    _project_embeddings(ours, theirs, projection)
    _fit_layer_norm(student, ours.embedding_norm, recorded.hidden[0] @ projection, batches)
    heads = teacher.config.num_attention_heads
    for layer, teacher_layer in zip(ours.layers, layer_map, strict=True):
        origin = theirs.layers[teacher_layer - 1]
        _project_attention(layer, origin, projection, _inputs(student, layer.query, batches), num_heads=heads)
        target = recorded.attention_output[teacher_layer - 1] @ projection
        _fit_layer_norm(student, layer.attention_norm, target, batches)
        _project_feed_forward(layer, origin, projection, recorded.activations[teacher_layer - 1])
        _fit_layer_norm(student, layer.output_norm, recorded.hidden[teacher_layer] @ projection, batches)
    return projection


def principal_subspace(states: Sequence[Tensor], width: int, *, seed: int) -> Tensor:
    """P: an orthonormal basis, (teacher width, `width`), of the subspace that holds most of the states' energy.

    `states`: one (tokens, teacher width) tensor per layer, each scaled to unit variance first. The basis is turned by
    a random rotation, so that the student's coordinates have like variance (LayerNorm and int8 both want that).
    """
    moment = torch.zeros(states[0].shape[1], states[0].shape[1], dtype=torch.float64)
    for layer in states:
        scaled = (layer / layer.std()).double()
        moment += scaled.T @ scaled / len(scaled)
    _, vectors = torch.linalg.eigh(moment)
    top = vectors[:, -width:]
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
    return (top @ rotation).float()


def _record(teacher: PreTrainedModel, anatomy: EncoderModules, batches: Sequence[Batch]) -> _Recorded:
    layers = anatomy.layers
    hidden: list[list[Tensor]] = [[] for _ in range(len(layers) + 1)]
    attention_output: list[list[Tensor]] = [[] for _ in layers]
    activations: list[list[Tensor]] = [[] for _ in layers]
    for batch in batches:
        real = batch["attention_mask"].bool()
        with (
            _captured([layer.attention_norm for layer in layers], outputs=True) as attended,
            _captured([layer.second for layer in layers], outputs=False) as active,
        ):
            tapped = layer_outputs.read(teacher, batch, layer_outputs.RequestedOutputs(hidden=True))
        for store, value in zip(hidden, tapped.hidden, strict=True):
            store.append(value[real])
        for store, value in zip(attention_output, attended, strict=True):
            store.append(value[real])
        for store, value in zip(activations, active, strict=True):
            store.append(value[real])
    return _Recorded(
        hidden=[torch.cat(parts) for parts in hidden],
        attention_output=[torch.cat(parts) for parts in attention_output],
        activations=[torch.cat(parts) for parts in activations],
    )


@contextmanager
def _captured(modules: Sequence[nn.Module], *, outputs: bool):  # type: ignore[no-untyped-def]
    """Collect what goes into (or comes out of) each module during the calls inside."""
    values: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda _, args, output: values.append(output if outputs else args[0]))
        for module in modules
    ]
    try:
        yield values
    finally:
        for handle in handles:
            handle.remove()


def _inputs(student: Any, module: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """What reaches `module` in the student as it stands, at real tokens: (tokens, width)."""
    collected = []
    for batch in batches:
        with _captured([module], outputs=False) as values:
            student.base_model(**batch)
        collected.append(values[0][batch["attention_mask"].bool()])
    return torch.cat(collected)


def _set(linear: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Write y = x `weight` + `bias` into a Linear, which stores the transpose. `weight`: (inputs, outputs)."""
    linear.weight.copy_(weight.T)
    linear.bias.copy_(bias)


def _project_embeddings(ours: EncoderModules, theirs: EncoderModules, projection: Tensor) -> None:
    """Word, position and type embeddings; a constant that the teacher adds goes into the types."""
    ours.word.weight.copy_(theirs.wide(theirs.word.weight) @ projection)
    ours.positions().copy_((theirs.wide(theirs.positions()) @ projection)[: len(ours.positions())])
    assert ours.token_type is not None
    ours.token_type.weight.copy_(theirs.wide(theirs.types()) @ projection)


def _fit_layer_norm(student: Any, norm: nn.LayerNorm, target: Tensor, batches: Sequence[Batch]) -> None:
    """Gain and bias of each coordinate by least squares, so that the LayerNorm's output is nearest to `target`."""
    normalised = nn.functional.layer_norm(_inputs(student, norm, batches), norm.normalized_shape, eps=norm.eps)
    mean, target_mean = normalised.mean(dim=0), target.mean(dim=0)
    covariance = ((normalised - mean) * (target - target_mean)).mean(dim=0)
    gain = covariance / normalised.var(dim=0, unbiased=False).clamp_min(1e-8)
    norm.weight.copy_(gain)
    norm.bias.copy_(target_mean - gain * mean)


def low_rank(matrix: Tensor, rank: int, left: Tensor, right: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Factors A (rows, rank) and B (columns, rank) whose product A B^T best stands for `matrix` on real inputs.

    Best in the mean squared error of x A B^T y for rows x and y with second moments `left` (and `right`), or of
    x A B^T alone when `right` is None: the truncated SVD of the matrix between the moments' square roots.
    """
    root, inverse = _square_root(left)
    weighted = root @ matrix.double()
    right_inverse = None
    if right is not None:
        right_root, right_inverse = _square_root(right)
        weighted = weighted @ right_root
    u, s, vh = torch.linalg.svd(weighted, full_matrices=False)
    scale = s[:rank].sqrt()
    a, b = inverse @ (u[:, :rank] * scale), vh[:rank].T * scale
    if right_inverse is not None:
        b = right_inverse @ b
    short = rank - scale.numel()
    if short > 0:
        a, b = nn.functional.pad(a, (0, short)), nn.functional.pad(b, (0, short))
    return a.float(), b.float()


def _square_root(moment: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(moment.double())
    root = values.clamp_min(values.max() * 1e-6).sqrt()
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T


def _project_attention(layer: Layer, origin: Layer, projection: Tensor, inputs: Tensor, *, num_heads: int) -> None:
    """Attention head by head: scores through W_q W_k^T, outputs through W_v W_o, each cut to the student's head width.

    A constant 1 is appended to the input so that the biases of queries and keys are part of the products.
    """
    width, student_width = origin.query.out_features // num_heads, layer.query.out_features // num_heads
    extended = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
    extended_moment = extended.T @ extended / len(extended)
    moment = extended_moment[:-1, :-1]

    query = torch.cat([projection.T @ origin.query.weight.T, origin.query.bias[None]])
    key = torch.cat([projection.T @ origin.key.weight.T, origin.key.bias[None]])
    value = projection.T @ origin.value.weight.T
    output = origin.output.weight.T @ projection
    queries, keys, values, outputs = [], [], [], []
    for head in range(num_heads):
        columns = slice(head * width, (head + 1) * width)
        scores = query[:, columns] @ key[:, columns].T * math.sqrt(student_width / width)
        a, b = low_rank(scores, student_width, extended_moment, extended_moment)
        queries.append(a)
        keys.append(b)
        a, b = low_rank(value[:, columns] @ output[columns], student_width, moment)
        values.append(a)
        outputs.append(b.T)
    all_queries, all_keys = torch.cat(queries, dim=1), torch.cat(keys, dim=1)
    _set(layer.query, all_queries[:-1], all_queries[-1])
    _set(layer.key, all_keys[:-1], all_keys[-1])
    _set(layer.value, torch.cat(values, dim=1), torch.zeros(num_heads * student_width))
    # attention weights sum to 1, so the bias of the values reaches the output as a constant
    constant = origin.value.bias @ origin.output.weight.T + origin.output.bias
    _set(layer.output, torch.cat(outputs), constant @ projection)


def _project_feed_forward(layer: Layer, origin: Layer, projection: Tensor, activations: Tensor) -> None:
    """Keep the neurons that matter most; what the dropped ones add on average goes into the output bias."""
    output = origin.second.weight.T
    importance = activations.abs().mean(dim=0) * output.norm(dim=1)
    kept, dropped = _split_by(importance, layer.first.out_features)
    constant = origin.second.bias + activations[:, dropped].mean(dim=0) @ output[dropped]
    _set(layer.first, projection.T @ origin.first.weight.T[:, kept], origin.first.bias[kept])
    _set(layer.second, output[kept] @ projection, constant @ projection)


@torch.no_grad()
def project_head(
    student: PreTrainedModel, teacher: PreTrainedModel, projection: Tensor, batches: Sequence[Batch]
) -> None:
    """The head of a fine-tuned teacher, set in place: the units before its tanh that matter most.

    `projection`: (teacher width, student width), carries the student's states h to the teacher's as h times its
    transpose: P itself, or the learned W_h of layer-wise distillation. The mean of what the dropped units add goes
    into the bias of the output. Both heads must be of the form that `anatomy.Head` describes.
    """
    nn.Module.to(teacher, "cpu").eval()
    ours, theirs = encoder_modules(student).head, encoder_modules(teacher).head
    assert ours is not None and theirs is not None
    first_tokens = torch.cat(
        [layer_outputs.read(teacher, batch, layer_outputs.RequestedOutputs()).last[:, 0] for batch in batches]
    )
    units = theirs.dense(first_tokens).tanh()
    importance = units.std(dim=0) * theirs.out.weight.norm(dim=0)
    kept, dropped = _split_by(importance, student.config.hidden_size)
    _set(ours.dense, projection.T @ theirs.dense.weight.T[:, kept], theirs.dense.bias[kept])
    constant = theirs.out.bias + theirs.out.weight[:, dropped] @ units[:, dropped].mean(dim=0)
    _set(ours.out, theirs.out.weight.T[kept], constant)


def _split_by(importance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indices of the `count` most important entries and of the rest, each in ascending order."""
    order = importance.argsort(descending=True)
    return order[:count].sort().values, order[count:].sort().values
