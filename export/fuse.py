"""Graph fusion by onnxruntime's transformers optimiser, and the proof that it took place."""

import logging
from collections import Counter
from pathlib import Path

import onnx
from onnxruntime.transformers.optimizer import optimize_model

from compress.architectures import POSITIONS_BEHIND_PADDING


class FusionError(RuntimeError):
    """The optimiser left something unfused that it fuses for this architecture."""


def expected_fusions(num_layers: int, model_type: str = "bert") -> dict[str, int]:
    """Fused nodes of a classifier of `num_layers` layers: BERT, DistilBERT, ELECTRA, RoBERTa, XLM-R or CamemBERT.

    RoBERTa and its kin count their positions from the tokens, so that their embeddings are not fused with their
    LayerNorm. ELECTRA's head has a GELU of its own.
    """
    found = {
        "LayerNormalization" if model_type in POSITIONS_BEHIND_PADDING else "EmbedLayerNormalization": 1,
        "Attention": num_layers,
        "BiasGelu": num_layers,
        "SkipLayerNormalization": 2 * num_layers,
    }
    return {**found, "Gelu": 1} if model_type == "electra" else found


def fuse(
    source: Path, target: Path, *, num_layers: int, num_heads: int, hidden_size: int, model_type: str = "bert"
) -> dict[str, int]:
    """Write the fused graph and return its fused-node counts.

    Raises FusionError unless everything was fused: the optimiser itself says nothing when it finds no attention, and
    what is left is slower than torch.
    """
    logging.getLogger("onnxruntime.transformers").setLevel(logging.ERROR)
    optimised = optimize_model(
        str(source), model_type="bert", num_heads=num_heads, hidden_size=hidden_size, opt_level=0, use_gpu=False
    )
    optimised.save_model_to_file(str(target))
    found, expected = count_operators(target), expected_fusions(num_layers, model_type)
    short = {name: found.get(name, 0) for name, count in expected.items() if found.get(name, 0) != count}
    if short:
        name, count = next(iter(short.items()))
        raise FusionError(f"graph fusion is incomplete: {name} {count} times, expected {expected[name]}")
    return {name: found[name] for name in expected}


def count_operators(path: Path) -> Counter[str]:
    """How often each operator stands in the graph."""
    return Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
