"""Reports how onnxruntime runs a model: the provider of every node, and the share of low-precision multiplications."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import NodeProto, TensorProto

from compress.common.errors import library_errors
from export.graph.operators import WEIGHTS_AT
from export.graph.rewriter import Graph, attribute
from export.parity.profiling import node_events
from export.results import SessionReport

LOW_PRECISION = (TensorProto.INT8, TensorProto.UINT8, TensorProto.FLOAT16)
FUSED = (
    "EmbedLayerNormalization", "Attention", "QAttention", "MultiHeadAttention", "BiasGelu", "Gelu", "Relu",
    "SkipLayerNormalization", "LayerNormalization", "MatMulIntegerToFloat",
)  # fmt: skip


def report_session(
    model: Path,
    inputs: Mapping[str, np.ndarray],
    providers: Sequence[str | tuple[str, dict[str, str]]],
    config_entries: Mapping[str, str],
) -> SessionReport:
    """Load a model in a new session, run it once under the profiler, and inspect the optimised graph.

    `inputs`: model inputs by name; more than the model has are allowed. `config_entries`: of the session.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # a warning that the optimised model fits only this machine is irrelevant here
        for name, value in config_entries.items():
            options.add_session_config_entry(name, value)
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        with library_errors(f"{model.name}: onnxruntime cannot load the graph"):
            session = onnxruntime.InferenceSession(str(model), options, providers=list(providers))
        own_inputs = {entry.name: inputs[entry.name] for entry in session.get_inputs()}
        with library_errors(f"{model.name}: onnxruntime cannot run the graph"):
            session.run(None, own_inputs)
        events = node_events(Path(session.end_profiling()))
        graph = Graph(Path(folder) / "optimised.onnx")
    nodes = Counter(event.provider for event in events if event.provider)
    counts = Counter(node.op_type for node in graph.nodes)
    return SessionReport(
        provider=session.get_providers()[0],
        nodes=dict(nodes),
        low_precision=_low_precision_share(graph),
        fused={name: counts[name] for name in FUSED if counts[name]},
    )


def _low_precision_share(graph: Graph) -> float:
    low = total = 0
    for node in graph.nodes:
        weights_at = WEIGHTS_AT.get(node.op_type)
        if weights_at is None:
            continue
        count, data_type = _weights(graph, node, node.input[weights_at])
        total += count
        low += count * (data_type in LOW_PRECISION)
    return low / total if total else 0.0


def _weights(graph: Graph, node: NodeProto, name: str) -> tuple[int, int]:
    """The number and data type of a node's weights; 0 if they are not constant."""
    if name not in graph.constants:
        return 0, TensorProto.UNDEFINED
    tensor = graph.constants[name]
    if node.op_type == "MatMulNBits":
        return attribute(node, "K") * attribute(node, "N"), tensor.data_type
    return int(np.prod(tensor.dims)), tensor.data_type
