"""Where an encoder keeps its weights: one view of BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA and DistilBERT.

They compute the same (attention, add and LayerNorm, feed-forward, add and LayerNorm) under different names.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.common.errors import raise_any
from compress.models.architectures import capabilities_of
from compress.models.compatibility import projection_problems


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The modules of one layer. Linear weights are (outputs, inputs)."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    attention_norm: nn.LayerNorm
    first: nn.Linear
    second: nn.Linear
    output_norm: nn.LayerNorm


@dataclass(frozen=True, kw_only=True)
class Head:
    """A classification head over the first token: logits = out(tanh(dense(h)))."""

    dense: nn.Linear
    out: nn.Linear


@dataclass(frozen=True, kw_only=True)
class EncoderModules:
    """An encoder's weights. `word`, `position`, `token_type`: embeddings (pieces, positions or types; width).

    `first_position`: the row of `position` that the first token takes. `widening`: what carries ELECTRA's narrow
    embeddings to the encoder's width. `head`: None where there is none, or not one of this form.
    """

    word: nn.Embedding
    position: nn.Embedding
    first_position: int
    token_type: nn.Embedding | None
    embedding_norm: nn.LayerNorm
    widening: nn.Linear | None
    layers: list[Layer]
    head: Head | None

    def wide(self, embeddings: Tensor) -> Tensor:
        """Embedding rows at the encoder's width."""
        return embeddings if self.widening is None else embeddings @ self.widening.weight.T

    def positions(self) -> Tensor:
        """Position embeddings in the order of tokens, (positions, width)."""
        return self.position.weight[self.first_position :]

    def types(self) -> Tensor:
        """Token type embeddings, (types, width); one of zeros where the encoder has none."""
        if self.token_type is None:
            return torch.zeros(1, self.word.weight.shape[1])
        return self.token_type.weight


def encoder_modules(model: PreTrainedModel) -> EncoderModules:
    """The weights of an encoder, or of the one inside a classifier. Raises UserError for another architecture."""
    kind = model.config.model_type
    raise_any(projection_problems(kind))
    encoder: Any = model.base_model
    whole: Any = model
    if kind == "distilbert":
        return EncoderModules(
            word=encoder.embeddings.word_embeddings,
            position=encoder.embeddings.position_embeddings,
            first_position=0,
            token_type=None,
            embedding_norm=encoder.embeddings.LayerNorm,
            widening=None,
            layers=[_distilbert_layer(layer) for layer in encoder.transformer.layer],
            head=None,  # its activation is ReLU
        )
    shifted = capabilities_of(kind).positions_behind_padding
    return EncoderModules(
        word=encoder.embeddings.word_embeddings,
        position=encoder.embeddings.position_embeddings,
        first_position=model.config.pad_token_id + 1 if shifted else 0,
        token_type=encoder.embeddings.token_type_embeddings,
        embedding_norm=encoder.embeddings.LayerNorm,
        widening=getattr(encoder, "embeddings_project", None),
        layers=[_bert_layer(layer) for layer in encoder.encoder.layer],
        head=_head(whole, kind),
    )


def _head(model: Any, kind: str) -> Head | None:
    if kind == "bert" and hasattr(model, "classifier") and model.base_model.pooler is not None:
        return Head(dense=model.base_model.pooler.dense, out=model.classifier)
    if capabilities_of(kind).positions_behind_padding and hasattr(model, "classifier"):
        return Head(dense=model.classifier.dense, out=model.classifier.out_proj)
    return None  # ELECTRA's activation is GELU


def _bert_layer(layer: Any) -> Layer:
    return Layer(
        query=layer.attention.self.query,
        key=layer.attention.self.key,
        value=layer.attention.self.value,
        output=layer.attention.output.dense,
        attention_norm=layer.attention.output.LayerNorm,
        first=layer.intermediate.dense,
        second=layer.output.dense,
        output_norm=layer.output.LayerNorm,
    )


def _distilbert_layer(layer: Any) -> Layer:
    return Layer(
        query=layer.attention.q_lin,
        key=layer.attention.k_lin,
        value=layer.attention.v_lin,
        output=layer.attention.out_lin,
        attention_norm=layer.sa_layer_norm,
        first=layer.ffn.lin1,
        second=layer.ffn.lin2,
        output_norm=layer.output_layer_norm,
    )
