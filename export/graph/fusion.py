"""Graph fusion by onnxruntime's transformers optimiser, and the proof that it took place."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from transformers import PretrainedConfig

from compress.models.architectures import capabilities_of
from export.graph.rewriter import count_operators

Attention = Literal["Attention", "MultiHeadAttention"]


class FusionError(RuntimeError):
    """The optimiser left something unfused that it fuses for this architecture."""


@dataclass(frozen=True, kw_only=True)
class EncoderShape:
    """What fusion must know of a classifier's encoder."""

    model_type: str
    num_layers: int
    num_heads: int
    hidden_size: int

    @classmethod
    def of(cls, config: PretrainedConfig) -> "EncoderShape":
        """As a configuration has it."""
        return cls(
            model_type=config.model_type,
            num_layers=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
        )


def expected_fusions(encoder: EncoderShape, attention: Attention, *, fuses_embeddings: bool = False) -> dict[str, int]:
    """Fused nodes of a classifier: BERT, DistilBERT, ELECTRA, RoBERTa, XLM-R or CamemBERT.

    RoBERTa and its kin count their positions from the tokens, so that their embeddings are not fused with their
    LayerNorm. ELECTRA's head has a GELU of its own.
    """
    fused = fuses_embeddings and not capabilities_of(encoder.model_type).positions_behind_padding
    found = {
        "EmbedLayerNormalization" if fused else "LayerNormalization": 1,
        attention: encoder.num_layers,
        "BiasGelu": encoder.num_layers,
        "SkipLayerNormalization": 2 * encoder.num_layers,
    }
    return {**found, "Gelu": 1} if encoder.model_type == "electra" else found


def fuse(
    source: Path,
    target: Path,
    encoder: EncoderShape,
    *,
    attention: Attention = "Attention",
    fuses_embeddings: bool = False,
) -> dict[str, int]:
    """Write the fused graph and return its fused-node counts.

    `attention`: in one operator with its products (Attention), or apart from them (MultiHeadAttention), which leaves Q,
    K and V as products that can be quantised for themselves. `fuses_embeddings`: look-ups and their LayerNorm in one
    operator, which then can't be quantised by blocks. Raises FusionError unless everything was fused: the optimiser
    itself says nothing when it finds no attention, and what is left is slower than torch.
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
    found, expected = count_operators(target), expected_fusions(encoder, attention, fuses_embeddings=fuses_embeddings)
    short = {name: found.get(name, 0) for name, count in expected.items() if found.get(name, 0) != count}
    if short:
        name, count = next(iter(short.items()))
        raise FusionError(f"graph fusion is incomplete: {name} {count} times, expected {expected[name]}")
    return {name: found[name] for name in expected}
