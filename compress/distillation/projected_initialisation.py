"""Projected initialisation: computes the weights of a narrow student from the weights of its teacher.

The teacher's hidden states nearly lie in a subspace. P (teacher width, student width) is an orthonormal basis of this
subspace, and the student represents a teacher state h as h P. All weights follow from that:

- Embeddings are projected.
- Attention is projected head by head and reduced to the student's head width by SVD.
- The most important feed-forward neurons are kept.
- LayerNorms are fitted by least squares to the activations of the student, layer after layer.

This takes seconds.
"""

import itertools
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
class _TeacherActivations:
    """The teacher's activations at the tokens of the calibration text, without padding, (tokens, width) each."""

    hidden: list[Tensor]  # the embedding output, then the output of each layer
    attention_output: list[Tensor]  # of each layer, after the attention block's LayerNorm
    neurons: list[Tensor]  # of each layer, feed-forward neurons after the activation function, (tokens, ffn width)


@torch.no_grad()
def project_teacher(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    layer_map: Sequence[int],
    batches: Sequence[Batch],
    *,
    seed: int,
) -> Tensor:
    """Set the weights of the student's encoder, in place, from those of the teacher. Returns P.

    `batches`: a few thousand tokens of calibration text, as input_ids, attention_mask and optional token_type_ids,
    (batch, positions) each. P: (teacher width, student width), with orthonormal columns. The transpose of P is the
    initial value for a trainable projection of student states to the teacher's width. Raises UserError if the shapes or
    the teacher's architecture do not allow it.
    """
    shape = EncoderFacts.of_config(student.config.to_dict()).shape
    raise_any(initialisation_problems("projected", shape, EncoderFacts.of_config(teacher.config.to_dict())))
    nn.Module.to(student, "cpu").eval()
    nn.Module.to(teacher, "cpu").eval()
    encoder, teacher_encoder = encoder_modules(student), encoder_modules(teacher)
    activations = _record_activations(teacher, teacher_encoder, batches)
    mapped_states = [activations.hidden[0], *(activations.hidden[layer] for layer in layer_map)]
    projection = principal_subspace(mapped_states, student.config.hidden_size, seed=seed)
    _project_embeddings(encoder, teacher_encoder, projection)
    _fit_layer_norm(student, encoder.embedding_norm, activations.hidden[0] @ projection, batches)
    num_heads, student_heads = teacher.config.num_attention_heads, student.config.num_attention_heads
    for layer, teacher_layer in zip(encoder.layers, layer_map, strict=True):
        source = teacher_encoder.layers[teacher_layer - 1]
        inputs = _inputs_of(layer.query, student, batches)
        _project_attention(layer, source, projection, inputs, num_heads=num_heads, student_heads=student_heads)
        target = activations.attention_output[teacher_layer - 1] @ projection
        _fit_layer_norm(student, layer.attention_norm, target, batches)
        _project_feed_forward(layer, source, projection, activations.neurons[teacher_layer - 1])
        _fit_layer_norm(student, layer.output_norm, activations.hidden[teacher_layer] @ projection, batches)
    return projection


def principal_subspace(states: Sequence[Tensor], width: int, *, seed: int) -> Tensor:
    """P: an orthonormal basis, (teacher width, `width`), of the subspace with most of the states' energy.

    `states`: (tokens, teacher width) per layer. Each layer is first scaled to unit variance. A random rotation of the
    basis makes the variances of the student's coordinates similar, which helps both LayerNorm and int8 quantisation.
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


def _record_activations(
    teacher: PreTrainedModel, encoder: EncoderModules, batches: Sequence[Batch]
) -> _TeacherActivations:
    layers = encoder.layers
    hidden: list[list[Tensor]] = [[] for _ in range(len(layers) + 1)]
    attention_output: list[list[Tensor]] = [[] for _ in layers]
    neurons: list[list[Tensor]] = [[] for _ in layers]
    for batch in batches:
        is_token = batch["attention_mask"].bool()
        with (
            _captured([layer.attention_norm for layer in layers], outputs=True) as norm_outputs,
            _captured([layer.ffn_output for layer in layers], outputs=False) as ffn_inputs,
        ):
            outputs = layer_outputs.read(teacher, batch, layer_outputs.RequestedOutputs(hidden=True))
        for store, values in zip(hidden, outputs.hidden, strict=True):
            store.append(values[is_token])
        for store, values in zip(attention_output, norm_outputs, strict=True):
            store.append(values[is_token])
        for store, values in zip(neurons, ffn_inputs, strict=True):
            store.append(values[is_token])
    return _TeacherActivations(
        hidden=[torch.cat(parts) for parts in hidden],
        attention_output=[torch.cat(parts) for parts in attention_output],
        neurons=[torch.cat(parts) for parts in neurons],
    )


@contextmanager
def _captured(modules: Sequence[nn.Module], *, outputs: bool):  # type: ignore[no-untyped-def]
    """Inside this context, collect the inputs (or outputs) of the modules, one entry per call."""
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


def _inputs_of(module: nn.Module, student: Any, batches: Sequence[Batch]) -> Tensor:
    """The inputs of a student's module with its present weights, at all tokens without padding, (tokens, width)."""
    collected = []
    for batch in batches:
        with _captured([module], outputs=False) as values:
            student.base_model(**batch)
        collected.append(values[0][batch["attention_mask"].bool()])
    return torch.cat(collected)


def _set_linear(linear: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Set a Linear to y = x `weight` + `bias`. `weight`: (inputs, outputs), the transpose of `linear.weight`."""
    linear.weight.copy_(weight.T)
    linear.bias.copy_(bias)


def _project_embeddings(student: EncoderModules, teacher: EncoderModules, projection: Tensor) -> None:
    """Project word, position and token type embeddings."""
    student.word.weight.copy_(teacher.at_full_width(teacher.word.weight) @ projection)
    positions = student.position_embeddings()
    positions.copy_((teacher.at_full_width(teacher.position_embeddings()) @ projection)[: len(positions)])
    assert student.token_type is not None
    student.token_type.weight.copy_(teacher.at_full_width(teacher.type_embeddings()) @ projection)


def _fit_layer_norm(student: Any, norm: nn.LayerNorm, target: Tensor, batches: Sequence[Batch]) -> None:
    """Fit gain and bias of each coordinate by least squares, so that the output of `norm` is closest to `target`."""
    normalised = nn.functional.layer_norm(_inputs_of(norm, student, batches), norm.normalized_shape, eps=norm.eps)
    mean, target_mean = normalised.mean(dim=0), target.mean(dim=0)
    covariance = ((normalised - mean) * (target - target_mean)).mean(dim=0)
    gain = covariance / normalised.var(dim=0, unbiased=False).clamp_min(1e-8)
    norm.weight.copy_(gain)
    norm.bias.copy_(target_mean - gain * mean)


def low_rank(matrix: Tensor, rank: int, left: Tensor, right: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Factors A (rows, rank) and B (columns, rank) whose product A B^T best approximates `matrix` on real inputs.

    They minimise the mean squared error of x A B^T y, for vectors x and y of second moments `left` and `right`. If
    `right` is None, they minimise the error of x A B^T. The solution is the truncated SVD of `matrix` multiplied by
    the square roots of the moments.
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


def group_heads(teacher_heads: int, student_heads: int) -> list[range]:
    """The teacher's heads that each head of the student stands for: adjacent ones, in groups of almost equal size."""
    edges = [teacher_heads * head // student_heads for head in range(student_heads + 1)]
    return [range(start, end) for start, end in itertools.pairwise(edges)]


def _project_attention(
    layer: Layer, source: Layer, projection: Tensor, inputs: Tensor, *, num_heads: int, student_heads: int
) -> None:
    """Project the products W_q W_k^T and W_v W_o of each head, and reduce both to the student's head width.

    A head that stands for several gets the mean of their scores, and the sum of their outputs. A constant 1 is appended
    to the inputs, so that the products include the biases of queries and keys.
    """
    width, student_width = source.query.out_features // num_heads, layer.query.out_features // student_heads
    extended = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
    extended_moment = extended.T @ extended / len(extended)
    moment = extended_moment[:-1, :-1]

    query = torch.cat([projection.T @ source.query.weight.T, source.query.bias[None]])
    key = torch.cat([projection.T @ source.key.weight.T, source.key.bias[None]])
    value = projection.T @ source.value.weight.T
    output = source.attention_output.weight.T @ projection
    queries, keys, values, outputs = [], [], [], []
    for group in group_heads(num_heads, student_heads):
        columns = slice(group.start * width, group.stop * width)
        scores = query[:, columns] @ key[:, columns].T * (math.sqrt(student_width / width) / len(group))
        a, b = low_rank(scores, student_width, extended_moment, extended_moment)
        queries.append(a)
        keys.append(b)
        a, b = low_rank(value[:, columns] @ output[columns], student_width, moment)
        values.append(a)
        outputs.append(b.T)
    all_queries, all_keys = torch.cat(queries, dim=1), torch.cat(keys, dim=1)
    _set_linear(layer.query, all_queries[:-1], all_queries[-1])
    _set_linear(layer.key, all_keys[:-1], all_keys[-1])
    _set_linear(layer.value, torch.cat(values, dim=1), torch.zeros(student_heads * student_width))
    # attention weights sum to 1, so the bias of the values adds a constant to the output
    constant = source.value.bias @ source.attention_output.weight.T + source.attention_output.bias
    _set_linear(layer.attention_output, torch.cat(outputs), constant @ projection)


def _project_feed_forward(layer: Layer, source: Layer, projection: Tensor, neurons: Tensor) -> None:
    """Keep the most important neurons. The mean contribution of the others becomes part of the output bias.

    `neurons`: the teacher's activations, (tokens, ffn width).
    """
    output = source.ffn_output.weight.T
    importance = neurons.abs().mean(dim=0) * output.norm(dim=1)
    kept, dropped = _split_by_importance(importance, layer.ffn_input.out_features)
    constant = source.ffn_output.bias + neurons[:, dropped].mean(dim=0) @ output[dropped]
    _set_linear(layer.ffn_input, projection.T @ source.ffn_input.weight.T[:, kept], source.ffn_input.bias[kept])
    _set_linear(layer.ffn_output, output[kept] @ projection, constant @ projection)


@torch.no_grad()
def project_head(
    student: PreTrainedModel, teacher: PreTrainedModel, projection: Tensor, batches: Sequence[Batch]
) -> None:
    """Set the student's head, in place, from that of a fine-tuned teacher. Keeps the most important hidden units.

    `projection`: (teacher width, student width), either P or the W_h that layer-wise distillation trained. Its
    transpose maps student states to the teacher's width. The mean contribution of the dropped units becomes part of
    the output bias. Both heads must have the form of `layout.Head`.
    """
    nn.Module.to(teacher, "cpu").eval()
    head, teacher_head = encoder_modules(student).head, encoder_modules(teacher).head
    assert head is not None and teacher_head is not None
    first_tokens = torch.cat(
        [layer_outputs.read(teacher, batch, layer_outputs.RequestedOutputs()).last[:, 0] for batch in batches]
    )
    units = teacher_head.dense(first_tokens).tanh()
    importance = units.std(dim=0) * teacher_head.out.weight.norm(dim=0)
    kept, dropped = _split_by_importance(importance, student.config.hidden_size)
    _set_linear(head.dense, projection.T @ teacher_head.dense.weight.T[:, kept], teacher_head.dense.bias[kept])
    constant = teacher_head.out.bias + teacher_head.out.weight[:, dropped] @ units[:, dropped].mean(dim=0)
    _set_linear(head.out, teacher_head.out.weight.T[kept], constant)


def _split_by_importance(importance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The indices of the `count` most important entries, and those of the others, both in ascending order."""
    order = importance.argsort(descending=True)
    return order[:count].sort().values, order[count:].sort().values
