"""How onnxruntime runs a model: the provider of every node, and the share of the products in low precision."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import NodeProto, TensorProto

from export.graph.operators import WEIGHTS_AT
from export.graph.rewriter import Graph, attribute
from export.parity.profiling import node_events
from export.results import SessionReport

LOW_PRECISION = (TensorProto.INT8, TensorProto.UINT8, TensorProto.FLOAT16)
FUSED = (
    "EmbedLayerNormalization", "Attention", "QAttention", "MultiHeadAttention", "BiasGelu", "Gelu",
    "SkipLayerNormalization", "LayerNormalization",
)  # fmt: skip


def report_session(
    model: Path,
    inputs: Mapping[str, np.ndarray],
    providers: Sequence[str | tuple[str, dict[str, str]]],
    options: Mapping[str, str],
) -> SessionReport:
    """Load a model once more and run it on one input, to see where and how. `options`: the session's config entries."""
    with tempfile.TemporaryDirectory() as folder:
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4  # that it writes what fits this machine alone is what we want
        for name, value in options.items():
            settings.add_session_config_entry(name, value)
        settings.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(model), settings, providers=list(providers))
        session.run(None, {entry.name: inputs[entry.name] for entry in session.get_inputs()})
        events = node_events(Path(session.end_profiling()))
        graph = Graph(Path(folder) / "optimised.onnx")
    nodes = Counter(event.provider for event in events if event.provider)
    counts = Counter(node.op_type for node in graph.nodes)
    return SessionReport(
        provider=session.get_providers()[0],
        nodes=dict(nodes),
        low_precision=_low_precision(graph),
        fused={name: counts[name] for name in FUSED if counts[name]},
    )


def _low_precision(graph: Graph) -> float:
    low = total = 0
    for node in graph.nodes:
        place = WEIGHTS_AT.get(node.op_type)
        if place is None:
            continue
        count, kind = _weights(graph, node, node.input[place])
        total += count
        low += count * (kind in LOW_PRECISION)
    return low / total if total else 0.0


def _weights(graph: Graph, node: NodeProto, name: str) -> tuple[int, int]:
    """How many numbers a product multiplies by, and their type; 0 where they are no constants."""
    if name not in graph.constants:
        return 0, TensorProto.UNDEFINED
    tensor = graph.constants[name]
    if node.op_type == "MatMulNBits":
        return attribute(node, "K") * attribute(node, "N"), tensor.data_type
    return int(np.prod(tensor.dims)), tensor.data_type
