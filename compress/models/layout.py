"""A uniform view of the weights of BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, DistilBERT and MPNet.

All of them compute attention, LayerNorm, feed-forward and LayerNorm, but name their modules differently. MPNet adds
a bias of relative positions to its attention scores too. The view leaves it out, because no student has one.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.common.errors import raise_any
from compress.models.architectures import capabilities_of
from compress.models.compatibility import projection_problems
from compress.models.sources import first_position


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The modules of one layer. Linear weights are (outputs, inputs)."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_output: nn.Linear
    attention_norm: nn.LayerNorm
    ffn_input: nn.Linear
    ffn_output: nn.Linear
    output_norm: nn.LayerNorm


@dataclass(frozen=True, kw_only=True)
class Head:
    """A classification head over the first token: logits = out(tanh(dense(h)))."""

    dense: nn.Linear
    out: nn.Linear


@dataclass(frozen=True, kw_only=True)
class EncoderModules:
    """The modules of an encoder.

    `word`, `position`, `token_type`: embeddings, (tokens, positions or types; width). `first_position`: the row of
    `position` for the first token. `embedding_projection`: maps ELECTRA's narrow embeddings to the encoder's width.
    `head`: None if there is no head, or if it does not have this form.
    """

    word: nn.Embedding
    position: nn.Embedding
    first_position: int
    token_type: nn.Embedding | None
    embedding_norm: nn.LayerNorm
    embedding_projection: nn.Linear | None
    layers: list[Layer]
    head: Head | None

    def at_full_width(self, embeddings: Tensor) -> Tensor:
        """Map embeddings (rows, embedding width) to the encoder's width."""
        return embeddings if self.embedding_projection is None else embeddings @ self.embedding_projection.weight.T

    def position_embeddings(self) -> Tensor:
        """The position embeddings from the first token on, (positions, width). A view of the weights."""
        return self.position.weight[self.first_position :]

    def type_embeddings(self) -> Tensor:
        """The token type embeddings, (types, width); a single row of zeros if the encoder has none."""
        if self.token_type is None:
            return torch.zeros(1, self.word.weight.shape[1])
        return self.token_type.weight


def encoder_modules(model: PreTrainedModel) -> EncoderModules:
    """The modules of an encoder, with or without a head. Raises UserError for an architecture without this layout."""
    model_type = model.config.model_type
    raise_any(projection_problems(model_type))
    encoder: Any = model.base_model
    whole: Any = model
    if model_type == "distilbert":
        return EncoderModules(
            word=encoder.embeddings.word_embeddings,
            position=encoder.embeddings.position_embeddings,
            first_position=0,
            token_type=None,
            embedding_norm=encoder.embeddings.LayerNorm,
            embedding_projection=None,
            layers=[_distilbert_layer(layer) for layer in encoder.transformer.layer],
            head=None,  # its activation is ReLU
        )
    return EncoderModules(
        word=encoder.embeddings.word_embeddings,
        position=encoder.embeddings.position_embeddings,
        first_position=first_position(model.config.to_dict()),
        token_type=getattr(encoder.embeddings, "token_type_embeddings", None),  # MPNet has none
        embedding_norm=encoder.embeddings.LayerNorm,
        embedding_projection=getattr(encoder, "embeddings_project", None),
        layers=[
            _mpnet_layer(layer) if model_type == "mpnet" else _bert_layer(layer) for layer in encoder.encoder.layer
        ],
        head=_head(whole, model_type),
    )


def _head(model: Any, model_type: str) -> Head | None:
    if model_type == "bert" and hasattr(model, "classifier") and model.base_model.pooler is not None:
        return Head(dense=model.base_model.pooler.dense, out=model.classifier)
    if capabilities_of(model_type).positions_follow_padding and hasattr(model, "classifier"):
        return Head(dense=model.classifier.dense, out=model.classifier.out_proj)
    return None  # ELECTRA's activation is GELU


def _bert_layer(layer: Any) -> Layer:
    return Layer(
        query=layer.attention.self.query,
        key=layer.attention.self.key,
        value=layer.attention.self.value,
        attention_output=layer.attention.output.dense,
        attention_norm=layer.attention.output.LayerNorm,
        ffn_input=layer.intermediate.dense,
        ffn_output=layer.output.dense,
        output_norm=layer.output.LayerNorm,
    )


def _mpnet_layer(layer: Any) -> Layer:
    return Layer(
        query=layer.attention.attn.q,
        key=layer.attention.attn.k,
        value=layer.attention.attn.v,
        attention_output=layer.attention.attn.o,
        attention_norm=layer.attention.LayerNorm,
        ffn_input=layer.intermediate.dense,
        ffn_output=layer.output.dense,
        output_norm=layer.output.LayerNorm,
    )


def _distilbert_layer(layer: Any) -> Layer:
    return Layer(
        query=layer.attention.q_lin,
        key=layer.attention.k_lin,
        value=layer.attention.v_lin,
        attention_output=layer.attention.out_lin,
        attention_norm=layer.sa_layer_norm,
        ffn_input=layer.ffn.lin1,
        ffn_output=layer.ffn.lin2,
        output_norm=layer.output_layer_norm,
    )
