"""Graph fusion by onnxruntime's transformer optimiser, with a check that every fusion took place."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from transformers import PretrainedConfig

from compress.models.architectures import capabilities_of
from compress.models.compatibility import EncoderFacts
from export.graph.rewriter import count_operators

Attention = Literal["Attention", "MultiHeadAttention"]


class FusionError(RuntimeError):
    """The optimiser did not fuse everything that it can fuse for this architecture."""


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """The properties of an encoder that fusion needs."""

    model_type: str
    num_layers: int
    num_heads: int
    hidden_size: int
    activation: str = "gelu"

    @classmethod
    def of(cls, config: PretrainedConfig) -> "EncoderShape":
        """The shape in a model's configuration."""
        return cls(
            model_type=config.model_type,
            num_layers=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            activation=EncoderFacts.of_config(config.to_dict()).activation,
        )


def expected_fusions(encoder: EncoderShape, attention: Attention, *, fuses_embeddings: bool = False) -> dict[str, int]:
    """Expected number of nodes per fused operator for BERT, DistilBERT, ELECTRA, RoBERTa, XLM-R and CamemBERT.

    RoBERTa, XLM-R and CamemBERT derive position ids from the tokens, so their embeddings cannot be fused with the
    LayerNorm. ELECTRA's head has an extra GELU.
    """
    fused_embeddings = fuses_embeddings and not capabilities_of(encoder.model_type).positions_follow_padding
    counts = {
        "EmbedLayerNormalization" if fused_embeddings else "LayerNormalization": 1,
        attention: encoder.num_layers,
        "Relu" if encoder.activation == "relu" else "BiasGelu": encoder.num_layers,
        "SkipLayerNormalization": 2 * encoder.num_layers,
    }
    return {**counts, "Gelu": 1} if encoder.model_type == "electra" else counts


def fuse(
    source: Path,
    target: Path,
    encoder: EncoderShape,
    *,
    attention: Attention = "Attention",
    fuses_embeddings: bool = False,
) -> dict[str, int]:
    """Write the fused graph. Returns the number of nodes per fused operator.

    `attention`: "Attention" fuses the Q, K and V projections into the operator. "MultiHeadAttention" leaves them as
    separate MatMuls, which can be quantised on their own. `fuses_embeddings`: fuses the embedding look-ups with their
    LayerNorm; block-wise quantisation then cannot reach them. Raises FusionError if a fusion is missing. The optimiser
    does not report this itself, and a partly fused graph is slower than torch.
    """
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    options = FusionOptions("bert")
    options.use_multi_head_attention = attention == "MultiHeadAttention"
    options.enable_embed_layer_norm = fuses_embeddings
    optimised = optimize_model(
        str(source),
        model_type="bert",
        num_heads=encoder.num_heads,
        hidden_size=encoder.hidden_size,
        optimization_options=options,
        opt_level=0,
        use_gpu=False,
    )
    optimised.save_model_to_file(str(target))
    actual, expected = count_operators(target), expected_fusions(encoder, attention, fuses_embeddings=fuses_embeddings)
    mismatches = {name: actual.get(name, 0) for name, count in expected.items() if actual.get(name, 0) != count}
    if mismatches:
        name, count = next(iter(mismatches.items()))
        raise FusionError(f"graph fusion is incomplete: got {count} {name} nodes, expected {expected[name]}")
    return {name: actual[name] for name in expected}
