"""Breaks down a bundle's time by group of operators, from onnxruntime's profile, with operation counts."""

import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from bench.measurement.worker_process import WorkerProcess, as_record, serve_requests
from bench.results.measurements import OperatorTime, Profile
from bench.timing.engines import synthetic_encoding
from bench.timing.systems import Shape, shape_name
from bench.timing.worker import timed
from export.graph.operators import ATTENTION_NODES, ATTENTIONS, EMBEDDING_NODES, MATMULS
from export.parity.profiling import NodeEvent, node_events

MAX_CALLS, MIN_CALLS, TARGET_S = 40, 8, 1.0  # calls to profile, within about this time
GROUPS: dict[str, tuple[str, ...]] = {
    "products": MATMULS,
    "attention": (*ATTENTIONS, "Softmax"),
    "normalisation": ("SkipLayerNormalization", "LayerNormalization", "SimplifiedLayerNormalization"),
    "activation": ("Gelu", "BiasGelu", "FastGelu", "Relu", "Tanh", "Erf"),
    "quantising": ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    "embedding": ("EmbedLayerNormalization", "QEmbedLayerNormalization", "Gather", "GatherBlockQuantized"),
}
OTHERS, BETWEEN = "other operators", "between operators"


def profile_operators(path: Path, shapes: Sequence[Shape], num_threads: int) -> list[Profile]:
    """The profile of a bundle on each shape. Raises WorkerError."""
    with closing(WorkerProcess("bench.analysis.operator_profile", path.name, num_threads=num_threads)) as child:
        child.ask("load", path=str(path), num_threads=num_threads)
        return [as_record(Profile, child.ask("profile", batch=batch, length=length)) for batch, length in shapes]


class ProfilingWorker:
    """Runs a bundle under onnxruntime's profiler, in a worker process."""

    def __init__(self, path: str, num_threads: int) -> None:
        self.path, self.num_threads = path, num_threads

    def facts(self) -> None:
        """None: there is nothing to report before the first profile."""

    def profile(self, batch: int, length: int) -> Profile:
        """Profile one shape. `ms` is the median of calls without the profiler, which slows the model down."""
        from export.bundle.runtime import Classifier

        with tempfile.TemporaryDirectory() as folder:
            plain = Classifier(self.path, num_threads=self.num_threads)
            profiled = Classifier(self.path, num_threads=self.num_threads, profile=Path(folder) / "profile")
            encoding = synthetic_encoding(plain, length)
            inputs = plain.model_inputs([encoding] * batch)
            first_s = min(timed(lambda: plain.forward(inputs)) for _ in range(2))
            num_calls = max(MIN_CALLS, min(MAX_CALLS, int(TARGET_S / first_s)))
            seconds = [timed(lambda: plain.forward(inputs)) for _ in range(2 * num_calls)]
            for _ in range(2 * num_calls):
                profiled.forward(inputs)
            events = node_events(Path(profiled.session.end_profiling()))
        total_ms = median(seconds[num_calls:]) * 1e3
        parts = operator_breakdown(events, last=num_calls)
        between_ms = max(0.0, total_ms - sum(part.ms for part in parts))
        return Profile(
            shape=shape_name((batch, len(encoding))),
            ms=total_ms,
            operations=sum(part.operations for part in parts),
            parts=[*parts, OperatorTime(name=BETWEEN, ms=between_ms, num_nodes=0, operations=0.0)],
        )


def operator_breakdown(events: Sequence[NodeEvent], *, last: int) -> list[OperatorTime]:
    """The time of each group of operators, largest first. Uses the last `last` calls of a profile."""
    by_node: dict[str, list[NodeEvent]] = defaultdict(list)
    for event in events:
        if event.operator == "If":  # its nodes have events of their own
            continue
        by_node[event.name].append(event)
    groups: dict[str, list[list[NodeEvent]]] = defaultdict(list)
    for calls in by_node.values():
        groups[_group_of(calls[0])].append(calls[-last:])
    parts = [
        OperatorTime(
            name=name,
            ms=median(sum(event.duration_us for event in call) for call in zip(*nodes, strict=True)) / 1000,
            num_nodes=len(nodes),
            operations=sum(_operations(calls[-1]) for calls in nodes),
        )
        for name, nodes in groups.items()
    ]
    return sorted(parts, key=lambda part: -part.ms)


def _group_of(node: NodeEvent) -> str:
    if node.name.startswith(EMBEDDING_NODES):
        return "embedding"
    if node.name.startswith(ATTENTION_NODES):
        return "attention"
    return next((group for group, operators in GROUPS.items() if node.operator in operators), OTHERS)


def _operations(node: NodeEvent) -> float:
    """Number of operations of a matrix multiplication or attention, from the shapes of its tensors; else 0."""
    match node.operator:
        case operator if operator in MATMULS:
            return 2.0 * math.prod(node.outputs[0]) * node.inputs[0][-1]
        case "Attention" | "QAttention":
            batch, length, width = node.inputs[0]
            projections = 2.0 * batch * length * width * node.inputs[1][-1]
            return projections + 4.0 * batch * length * length * node.outputs[0][-1]
        case "MultiHeadAttention":
            batch, queries, hidden = node.inputs[0]
            return 4.0 * batch * queries * node.inputs[1][1] * hidden
    return 0.0


if __name__ == "__main__":
    serve_requests(ProfilingWorker)
