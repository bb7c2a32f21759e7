"""Reads the hidden states and attention scores that the losses compare, from any transformers encoder.

TinyBERT compares attention scores before the softmax, but `output_attentions` returns the probabilities. This module
therefore registers its own attention function with `transformers.AttentionInterface`. The function returns the scores
in place of the probabilities. MPNet does not use this interface, so its attention modules get another `forward`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

from compress.common.errors import UserError

SCORES = "pocketbert_scores"


class AttentionInternals(NamedTuple):
    """The intermediate values of one attention layer.

    `scores`: before the mask and the softmax, with the bias of relative positions if there is one, (batch, heads,
    queries, keys).
    `query`, `key`, `value`: (batch, heads, positions, head width).
    """

    scores: Tensor
    query: Tensor
    key: Tensor
    value: Tensor


def _attention_returning_scores(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, AttentionInternals]:
    """Eager attention. Returns the context (batch, positions, heads, head width) and the intermediate values."""
    scores = torch.matmul(query, key.transpose(2, 3)) * (scaling or query.shape[-1] ** -0.5)
    if position_bias is not None:
        scores = scores + position_bias
    masked = scores if attention_mask is None else scores + attention_mask
    weights = nn.functional.dropout(nn.functional.softmax(masked, dim=-1), p=dropout, training=module.training)
    context = torch.matmul(weights, value).transpose(1, 2).contiguous()
    return context, AttentionInternals(scores, query, key, value)


def _mpnet_attention_returning_scores(
    module: MPNetSelfAttention,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_bias: Tensor | None = None,
    output_attentions: bool = False,
    **_: object,
) -> tuple[Tensor, AttentionInternals]:
    """MPNet's self-attention. Returns its output (batch, positions, width) and the intermediate values."""
    query, key, value = (
        linear(hidden_states).unflatten(-1, (module.num_attention_heads, -1)).transpose(1, 2)
        for linear in (module.q, module.k, module.v)
    )
    context, internals = _attention_returning_scores(
        module, query, key, value, attention_mask, dropout=module.dropout.p, position_bias=position_bias
    )
    return module.o(context.flatten(start_dim=2)), internals


AttentionInterface.register(SCORES, _attention_returning_scores)
AttentionMaskInterface.register(SCORES, eager_mask)


class RequestedOutputs(NamedTuple):
    """The layer outputs to read. `scores` and `qkv` require `capture_attention`. Falsy if all are False."""

    hidden: bool = False
    scores: bool = False
    qkv: bool = False

    def __bool__(self) -> bool:
        return any(self)


@dataclass(frozen=True, kw_only=True)
class LayerOutputs:
    """The layer outputs of one forward pass. Outputs that were not requested are empty.

    `last`: the output of the last layer, (batch, positions, width).
    `hidden`: the embedding output, then the output of each layer, (batch, positions, width) each.
    `scores`: the attention scores of each layer, (batch, heads, queries, keys).
    `qkv`: the queries, keys and values of each layer with concatenated heads, (batch, positions, width) each.
    """

    last: Tensor
    hidden: tuple[Tensor, ...] = ()
    scores: tuple[Tensor, ...] = ()
    qkv: tuple[tuple[Tensor, Tensor, Tensor], ...] = ()

    def of_layers(self, layers: Sequence[int]) -> "LayerOutputs":
        """The embedding output and the outputs of the given layers, counted from 1."""
        return LayerOutputs(
            last=self.last,
            hidden=tuple(self.hidden[layer] for layer in (0, *layers)) if self.hidden else (),
            scores=tuple(self.scores[layer - 1] for layer in layers) if self.scores else (),
            qkv=tuple(self.qkv[layer - 1] for layer in layers) if self.qkv else (),
        )


@contextmanager
def using_attention(implementation: str, *models: PreTrainedModel) -> Iterator[None]:
    """Inside this context, the models use this attention implementation. Afterwards they use their own again."""
    original = [model.config._attn_implementation for model in models]
    try:
        for model in models:
            model.set_attn_implementation(implementation)
        yield
    finally:
        for model, own in zip(models, original, strict=True):
            model.set_attn_implementation(own)


@contextmanager
def capture_attention(*models: PreTrainedModel) -> Iterator[None]:
    """Inside this context, `read` can return the scores and vectors of the models.

    Raises UserError for an architecture that does not use transformers' AttentionInterface, except MPNet.
    """
    own_attentions = {model: _mpnet_attentions(model) for model in models}
    others = [model for model, attentions in own_attentions.items() if not attentions]
    mpnet_attentions = [attention for attentions in own_attentions.values() for attention in attentions]
    try:
        for attention in mpnet_attentions:
            attention.forward = partial(_mpnet_attention_returning_scores, attention)  # type: ignore[method-assign]
        with using_attention(SCORES, *others):
            for model in others:
                if model.base_model.config._attn_implementation != SCORES:  # type: ignore[union-attr]
                    raise UserError(
                        f"the attention scores of a {model.config.model_type} cannot be read, because it does not use "
                        "transformers' AttentionInterface; use a BERT, RoBERTa, ELECTRA, DistilBERT or MPNet, or no "
                        "attention loss"
                    )
            yield
    finally:
        for attention in mpnet_attentions:
            del attention.forward


def _mpnet_attentions(model: PreTrainedModel) -> list[MPNetSelfAttention]:
    return [module for module in model.modules() if isinstance(module, MPNetSelfAttention)]


@contextmanager
def first_layers_only(model: PreTrainedModel, num_layers: int) -> Iterator[None]:
    """Inside this context, the encoder of `model` computes its first `num_layers` layers only."""
    total = model.config.num_hidden_layers
    stacks = [
        (parent, name, child)
        for parent in model.base_model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == total
    ]
    if num_layers >= total or len(stacks) != 1:  # ALBERT repeats one layer, so it has no stack to cut
        yield
        return
    ((parent, name, layers),) = stacks
    try:
        setattr(parent, name, layers[:num_layers])
        yield
    finally:
        setattr(parent, name, layers)


@contextmanager
def readable(
    student: PreTrainedModel, teacher: PreTrainedModel, requested: RequestedOutputs, mapped_layers: Sequence[int]
) -> Iterator[None]:
    """Inside this context, both models give the requested outputs, and the teacher computes no unmapped last layers.

    `mapped_layers`: the teacher layer, counted from 1, of each student layer.
    """
    captured = [student, teacher] if requested.scores or requested.qkv else []
    with capture_attention(*captured), first_layers_only(teacher, max(mapped_layers)):
        yield


def read(model: PreTrainedModel, inputs: dict[str, Tensor], requested: RequestedOutputs) -> LayerOutputs:
    """Run the encoder of `model`, without its head, and return the requested layer outputs."""
    encoder: Any = model.base_model
    needs_attention = requested.scores or requested.qkv
    output = encoder(**inputs, output_hidden_states=requested.hidden, output_attentions=needs_attention)
    layers: Sequence[AttentionInternals] = output.attentions if needs_attention else ()
    assert all(isinstance(layer, AttentionInternals) for layer in layers)  # otherwise not within capture_attention
    return LayerOutputs(
        last=output.last_hidden_state,
        hidden=output.hidden_states if requested.hidden else (),
        scores=tuple(layer.scores for layer in layers) if requested.scores else (),
        qkv=tuple(
            (_concatenate_heads(layer.query), _concatenate_heads(layer.key), _concatenate_heads(layer.value))
            for layer in layers
        )
        if requested.qkv
        else (),
    )


def _concatenate_heads(vectors: Tensor) -> Tensor:
    """(batch, heads, positions, head width) to (batch, positions, width)."""
    return vectors.transpose(1, 2).flatten(start_dim=2)
