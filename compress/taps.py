"""Reading what the losses compare: hidden states and raw attention scores, of any encoder transformers knows.

`output_attentions` gives probabilities. TinyBERT matches the scores before the softmax, so an attention function of
our own is registered with `transformers.AttentionInterface`; it hands the scores back where the weights would be.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from compress.errors import UserError

SCORES = "pocketbert_scores"


def _attention_returning_scores(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """Eager attention; `query`, `key`, `value`: (batch, heads, positions, head width).

    Returns the context (batch, positions, heads, head width) and the scores (batch, heads, queries, keys).
    """
    scores = torch.matmul(query, key.transpose(2, 3)) * (scaling or query.shape[-1] ** -0.5)
    masked = scores if attention_mask is None else scores + attention_mask
    weights = nn.functional.dropout(nn.functional.softmax(masked, dim=-1), p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), scores


AttentionInterface.register(SCORES, _attention_returning_scores)
AttentionMaskInterface.register(SCORES, eager_mask)


@dataclass(frozen=True, kw_only=True)
class Taps:
    """One forward pass, tapped.

    `hidden`: embedding output, then each layer's output, each (batch, positions, width).
    `scores`: each layer's attention scores, (batch, heads, queries, keys); empty unless asked for.
    """

    last: Tensor
    hidden: tuple[Tensor, ...] = ()
    scores: tuple[Tensor, ...] = ()


@contextmanager
def exposing_scores(*models: PreTrainedModel) -> Iterator[None]:
    """Inside, these models can be read with their scores; afterwards they compute attention as before.

    Raises UserError for an architecture that does not use transformers' AttentionInterface.
    """
    before = [model.config._attn_implementation for model in models]
    try:
        for model in models:
            model.set_attn_implementation(SCORES)
            if model.base_model.config._attn_implementation != SCORES:  # type: ignore[union-attr]
                raise UserError(
                    f"a {model.config.model_type} gives no attention scores through transformers' AttentionInterface; "
                    "use a BERT, RoBERTa, ELECTRA or DistilBERT, or set the weight `attention` to 0"
                )
        yield
    finally:
        for model, implementation in zip(models, before, strict=True):
            model.set_attn_implementation(implementation)


def read(model: PreTrainedModel, inputs: dict[str, Tensor], *, hidden: bool, scores: bool) -> Taps:
    """Run the encoder of `model` (without its head) on `inputs` and return its taps.

    `scores` can be had inside `exposing_scores` only.
    """
    encoder: Any = model.base_model
    assert not scores or encoder.config._attn_implementation == SCORES
    output = encoder(**inputs, output_hidden_states=hidden, output_attentions=scores)
    return Taps(
        last=output.last_hidden_state,
        hidden=output.hidden_states if hidden else (),
        scores=output.attentions if scores else (),
    )


def uniform_layer_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """Teacher layer g(m) for each student layer m = 1..M: g(m) = m N / M, rounded to the nearest for any N and M.

    The last student layer always learns from the last teacher layer. TinyBERT, section 3.1.
    """
    if student_layers > teacher_layers:
        raise UserError(f"the student has {student_layers} layers, more than the teacher's {teacher_layers}")
    return tuple(round(m * teacher_layers / student_layers) for m in range(1, student_layers + 1))
