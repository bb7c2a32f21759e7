"""Sizes and profiles count the operators that unpack an embedding as part of it."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.analysis.operator_profile import operator_breakdown
from bench.analysis.sizes import size_breakdown
from export.graph.operators import EMBEDDING_NODES
from export.parity.profiling import NodeEvent
from export.quantisation.quantize import build_variant
from export.quantisation.variants import VARIANTS
from tiny_bert import config


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, raw_graph, encoder, calibration) -> Path:
    """The model file of a bundle with 4-bit weights and word embeddings, and 8-bit position embeddings."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "onnx").mkdir()
    build_variant(VARIANTS["int4-static"], raw_graph, folder / "onnx" / "model.onnx", encoder, calibration[:8])
    return folder


def test_the_size_of_an_embedding_is_that_of_its_packed_tables(bundle):
    size = size_breakdown(bundle)
    settings = config()
    words, places, types = settings.vocab_size, settings.max_position_embeddings, settings.type_vocab_size
    width = settings.hidden_size
    tables = words * width // 2 + places * width + 4 * types * width
    scales = 4 * (words + places)
    assert size is not None and tables + scales <= size.embedding <= tables + scales + 600


def test_a_profile_counts_the_nodes_that_unpack_words_as_embedding(bundle):
    nodes = onnx.load(str(bundle / "onnx" / "model.onnx")).graph.node
    unpacking = [node for node in nodes if node.name.startswith(EMBEDDING_NODES)]
    assert {node.op_type for node in unpacking} == {"Gather", "Cast", "Mul", "Floor", "Sum", "Concat"}
    assert len({node.name for node in unpacking}) == len(unpacking) == 9
    events = [
        NodeEvent(
            name=f"{node.name or node.op_type}_kernel_time",
            operator=node.op_type,
            provider="CPUExecutionProvider",
            duration_us=1.0,
            inputs=[],
            outputs=[],
        )
        for node in nodes
        if node.op_type in ("Floor", "Sum", "LayerNormalization")
    ]
    parts = {part.name: part.num_nodes for part in operator_breakdown(events, last=1)}
    assert parts["embedding"] == 2 and np.isclose(sum(parts.values()), len({event.name for event in events}))
