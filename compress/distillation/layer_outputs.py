"""Reading what the losses compare: hidden states and raw attention scores, of any encoder transformers knows.

`output_attentions` gives probabilities. TinyBERT matches the scores before the softmax, so an attention function of
our own is registered with `transformers.AttentionInterface`; it hands the scores back where the weights would be.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from compress.common.errors import UserError

SCORES = "pocketbert_scores"


class AttentionInternals(NamedTuple):
    """What a layer's attention compared, each (batch, heads, positions, head width), and its scores before the mask.

    `scores`: (batch, heads, queries, keys).
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
    **_: object,
) -> tuple[Tensor, AttentionInternals]:
    """Eager attention. Returns the context (batch, positions, heads, head width), and what it came from."""
    scores = torch.matmul(query, key.transpose(2, 3)) * (scaling or query.shape[-1] ** -0.5)
    masked = scores if attention_mask is None else scores + attention_mask
    weights = nn.functional.dropout(nn.functional.softmax(masked, dim=-1), p=dropout, training=module.training)
    context = torch.matmul(weights, value).transpose(1, 2).contiguous()
    return context, AttentionInternals(scores, query, key, value)


AttentionInterface.register(SCORES, _attention_returning_scores)
AttentionMaskInterface.register(SCORES, eager_mask)


class RequestedOutputs(NamedTuple):
    """What is to be read. `scores` and `vectors` can be had inside `capture_attention_scores` only."""

    hidden: bool = False
    scores: bool = False
    vectors: bool = False

    def __bool__(self) -> bool:
        return any(self)


@dataclass(frozen=True, kw_only=True)
class LayerOutputs:
    """One forward pass, tapped; what was not wanted is empty.

    `hidden`: embedding output, then each layer's output, each (batch, positions, width).
    `scores`: each layer's attention scores, (batch, heads, queries, keys).
    `vectors`: each layer's queries, keys and values, all heads side by side, (batch, positions, width) each.
    """

    last: Tensor
    hidden: tuple[Tensor, ...] = ()
    scores: tuple[Tensor, ...] = ()
    vectors: tuple[tuple[Tensor, Tensor, Tensor], ...] = ()

    def of_layers(self, layers: Sequence[int]) -> "LayerOutputs":
        """The embedding output, and of the layers only those named, counted from 1."""
        return LayerOutputs(
            last=self.last,
            hidden=tuple(self.hidden[layer] for layer in (0, *layers)) if self.hidden else (),
            scores=tuple(self.scores[layer - 1] for layer in layers) if self.scores else (),
            vectors=tuple(self.vectors[layer - 1] for layer in layers) if self.vectors else (),
        )


@contextmanager
def using_attention(implementation: str, *models: PreTrainedModel) -> Iterator[None]:
    """Inside, these models compute attention by this implementation; afterwards as before."""
    before = [model.config._attn_implementation for model in models]
    try:
        for model in models:
            model.set_attn_implementation(implementation)
        yield
    finally:
        for model, own in zip(models, before, strict=True):
            model.set_attn_implementation(own)


@contextmanager
def capture_attention_scores(*models: PreTrainedModel) -> Iterator[None]:
    """Inside, these models can be read with their scores and vectors; afterwards they compute attention as before.

    Raises UserError for an architecture that does not use transformers' AttentionInterface.
    """
    with using_attention(SCORES, *models):
        for model in models:
            if model.base_model.config._attn_implementation != SCORES:  # type: ignore[union-attr]
                raise UserError(
                    f"a {model.config.model_type} gives no attention scores through transformers' AttentionInterface; "
                    "use a BERT, RoBERTa, ELECTRA or DistilBERT, or no attention loss"
                )
        yield


@contextmanager
def first_layers_only(model: PreTrainedModel, num_layers: int) -> Iterator[None]:
    """Inside, the encoder of `model` ends after its first layers: what lies above is not computed."""
    total = model.config.num_hidden_layers
    stacks = [
        (parent, name, child)
        for parent in model.base_model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == total
    ]
    if num_layers >= total or len(stacks) != 1:  # ALBERT runs one layer again and again
        yield
        return
    ((parent, name, layers),) = stacks
    try:
        setattr(parent, name, layers[:num_layers])
        yield
    finally:
        setattr(parent, name, layers)


def read(model: PreTrainedModel, inputs: dict[str, Tensor], wanted: RequestedOutputs) -> LayerOutputs:
    """Run the encoder of `model` (without its head) on `inputs` and return its taps."""
    encoder: Any = model.base_model
    attended = wanted.scores or wanted.vectors
    assert not attended or encoder.config._attn_implementation == SCORES
    output = encoder(**inputs, output_hidden_states=wanted.hidden, output_attentions=attended)
    layers: Sequence[AttentionInternals] = output.attentions if attended else ()
    return LayerOutputs(
        last=output.last_hidden_state,
        hidden=output.hidden_states if wanted.hidden else (),
        scores=tuple(layer.scores for layer in layers) if wanted.scores else (),
        vectors=tuple(
            (_side_by_side(layer.query), _side_by_side(layer.key), _side_by_side(layer.value)) for layer in layers
        )
        if wanted.vectors
        else (),
    )


def _side_by_side(heads: Tensor) -> Tensor:
    return heads.transpose(1, 2).flatten(start_dim=2)
