"""A uniform view of the weights of BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, DistilBERT and MPNet.

All of them compute attention, LayerNorm, feed-forward and LayerNorm, but name their modules differently. MPNet adds
a bias of relative positions to its attention scores too. The view leaves it out, because no student has one.
"""

from collections.abc import Mapping
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


_BERT_PATHS = {  # of the modules of `Layer`, from that of the whole layer
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_input": "intermediate.dense",
    "ffn_output": "output.dense",
    "output_norm": "output.LayerNorm",
}
_PATHS = {
    "distilbert": {
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "attention_output": "attention.out_lin",
        "attention_norm": "sa_layer_norm",
        "ffn_input": "ffn.lin1",
        "ffn_output": "ffn.lin2",
        "output_norm": "output_layer_norm",
    },
    "mpnet": _BERT_PATHS
    | {
        "query": "attention.attn.q",
        "key": "attention.attn.k",
        "value": "attention.attn.v",
        "attention_output": "attention.attn.o",
        "attention_norm": "attention.LayerNorm",
    },
}


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
    stack = encoder.transformer if model_type == "distilbert" else encoder.encoder
    paths = _PATHS.get(model_type, _BERT_PATHS)
    return EncoderModules(
        word=encoder.embeddings.word_embeddings,
        position=encoder.embeddings.position_embeddings,
        first_position=first_position(model.config.to_dict()),
        token_type=getattr(encoder.embeddings, "token_type_embeddings", None),
        embedding_norm=encoder.embeddings.LayerNorm,
        embedding_projection=getattr(encoder, "embeddings_project", None),
        layers=[_layer(layer, paths) for layer in stack.layer],
        head=_head(model, model_type),
    )


def _head(model: Any, model_type: str) -> Head | None:
    if model_type == "bert" and hasattr(model, "classifier") and model.base_model.pooler is not None:
        return Head(dense=model.base_model.pooler.dense, out=model.classifier)
    if capabilities_of(model_type).positions_follow_padding and hasattr(model, "classifier"):
        return Head(dense=model.classifier.dense, out=model.classifier.out_proj)
    return None  # the activation of ELECTRA's head is GELU, that of DistilBERT's is ReLU


def _layer(layer: nn.Module, paths: Mapping[str, str]) -> Layer:
    modules: dict[str, Any] = {name: layer.get_submodule(path) for name, path in paths.items()}
    return Layer(**modules)
